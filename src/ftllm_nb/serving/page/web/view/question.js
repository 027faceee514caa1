// A question: text as it was typed, never HTML; and its editing, which makes another version.
import { askEdited } from "../state/answers.js";
import { deleteTurn } from "../state/conversations.js";
import { Chip } from "./attachments.js";
import { CopyButton } from "./copy_button.js";
import { fitted } from "./fitted.js";
import { Form } from "./form.js";
import { html, remembered, useLayoutEffect, useRef, useState } from "./html.js";
import { IconButton } from "./icons.js";
import { Versions } from "./versions.js";

export const Question = remembered(({ message, versions, at, isRunning }) => {
  const [isEdited, setEdited] = useState(false);
  if (isEdited) return html`<${Editor} message=${message} isRunning=${isRunning} close=${() => setEdited(false)} />`;
  return html`
    <article class="question" aria-label="Question">
      ${message.files?.length > 0 && html`<div class="chips">${message.files.map((file) => html`<${Chip} file=${file} />`)}</div>`}
      ${message.text && html`<div class="bubble" dir="auto">${message.text}</div>`}
      <div class="tools">
        <${Versions} versions=${versions} at=${at} disabled=${isRunning} />
        <${CopyButton} text=${message.text} />
        <${IconButton} name="edit" label="Edit question" disabled=${isRunning} onClick=${() => setEdited(true)} />
        <${IconButton} name="remove" label="Delete turn" disabled=${isRunning} onClick=${() => deleteTurn(message)} />
      </div>
    </article>
  `;
});

function Editor({ message, isRunning, close }) {
  const [text, setText] = useState(message.text);
  const field = useRef(null);
  useLayoutEffect(() => {
    field.current.focus();
    field.current.setSelectionRange(text.length, text.length);
  }, []);
  useLayoutEffect(() => fitted(field.current), [text]);
  const ask = () => {
    if (!text.trim() || isRunning) return;
    close();
    askEdited(message, text);
  };
  const hear = (event) => {
    const isAsked = event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
    if (!isAsked && event.key !== "Escape") return;
    event.preventDefault();
    if (isAsked) ask();
    else close();
  };
  return html`
    <${Form} class="editor" onSubmit=${ask}>
      <textarea ref=${field} aria-label="Question" dir="auto" value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${hear}></textarea>
      <p>
        <button type="submit" class="primary" disabled=${!text.trim() || isRunning}>Ask again</button>
        <button type="button" onClick=${close}>Cancel</button>
      </p>
    <//>
  `;
}
