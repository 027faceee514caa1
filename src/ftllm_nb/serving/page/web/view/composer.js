// Where questions are written.
import { countTokens } from "../api/client.js";
import { send, stop } from "../state/answers.js";
import { notify } from "../state/notices.js";
import { state } from "../state/store.js";
import { readTextFile } from "../text/files.js";
import { Chip } from "./attachments.js";
import { fitted } from "./fitted.js";
import { Form } from "./form.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { icon, IconButton } from "./icons.js";

const DRAFT = "ftllm-nb draft"; // what is written survives a reload
const FINE = matchMedia("(pointer: fine)"); // a keyboard is likely

let attach = () => {};

// Files from outside of the composer, dropped on the page.
export const offerFiles = (files) => attach(files);

export function Composer({ current, isRunning }) {
  const [text, setText] = useState(sessionStorage.getItem(DRAFT) ?? "");
  const [files, setFiles] = useState([]);
  const field = useRef(null);
  const input = useRef(null);

  attach = async (chosen) => {
    for (const file of chosen) {
      try {
        const read = await readTextFile(file);
        setFiles((before) => [...before, read]);
        const tokens = await countTokens({ prompt: read.text }).catch(() => undefined);
        setFiles((before) => before.map((each) => (each === read ? { ...read, tokens } : each)));
      } catch (error) {
        notify(error.message);
      }
    }
    field.current.focus();
  };
  useLayoutEffect(() => fitted(field.current), [text]);
  useEffect(() => sessionStorage.setItem(DRAFT, text), [text]);
  useEffect(() => {
    // Not out of another field, which somebody may be writing in.
    if (FINE.matches && !document.activeElement?.closest("input, textarea, dialog")) field.current.focus();
  }, [current?.id, isRunning]);

  const canSend = !isRunning && (text.trim() || files.length);
  const submit = () => {
    if (!canSend) return;
    setText("");
    setFiles([]);
    send(text, files);
  };
  const hear = (event) => {
    const isSent = event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
    if (!isSent || !FINE.matches) return;
    event.preventDefault();
    submit();
  };
  const paste = (event) => {
    const pasted = [...event.clipboardData.files];
    if (!pasted.length) return;
    event.preventDefault();
    attach(pasted);
  };
  const choose = (event) => {
    const chosen = [...event.target.files];
    event.target.value = "";
    attach(chosen);
  };
  return html`
    <${Form} class="composer" onSubmit=${submit} onClick=${(event) => event.target === event.currentTarget && field.current.focus()}>
      ${files.length > 0 && html`
        <div class="chips">
          ${files.map((file) => html`<${Chip} file=${file} context=${state.about?.context} remove=${() => setFiles(files.filter((each) => each !== file))} />`)}
        </div>
      `}
      <textarea
        ref=${field} rows="1" placeholder="Message" aria-label="Message" dir="auto" enterkeyhint=${FINE.matches ? "send" : "enter"}
        value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${hear} onPaste=${paste}
      ></textarea>
      <div class="composer-tools">
        <input type="file" multiple hidden ref=${input} onChange=${choose} aria-label="Files to attach" />
        <${IconButton} name="attach" label="Attach text files" onClick=${() => input.current.click()} />
        <${ContextMeter} />
        ${isRunning
          ? html`<button type="button" class="round" aria-label="Stop" title="Stop (Esc)" onClick=${() => stop()}>${icon("stop")}</button>`
          : html`<button type="submit" class="round" aria-label="Send" title="Send (Enter)" disabled=${!canSend}>${icon("send")}</button>`}
      </div>
    <//>
  `;
}

// How full the model's context was at the last answer.
function ContextMeter() {
  const last = [...state.messages.values()].filter((message) => message.counts && !message.deleted).sort((one, other) => one.created - other.created).at(-1);
  if (!last?.counts.context) return html`<span class="meter"></span>`;
  const { prompt, answer, context } = last.counts;
  const used = `${(prompt + answer).toLocaleString("en")} of ${context.toLocaleString("en")} tokens of context`;
  return html`<span class="meter"><meter min="0" max=${context} high=${0.85 * context} value=${prompt + answer} aria-label=${used}></meter> <span>${used}</span></span>`;
}
