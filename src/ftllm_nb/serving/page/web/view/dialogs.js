// Questions that the page asks: {title, text, code, field: {label, value, type}, choices: [{label, isDanger, act}]}.
import { hasKey, useKey } from "../api/client.js";
import { change, state } from "../state/store.js";
import { Form } from "./form.js";
import { html, useLayoutEffect, useRef } from "./html.js";

export function askKey(then) {
  const text = hasKey() ? "The server does not know this key." : "The server asks for an API key. It is kept until this tab is closed.";
  const act = (key) => {
    useKey(key);
    then();
  };
  change({ dialog: { title: "API key", text, field: { label: "Key", value: "", type: "password" }, choices: [{ label: "Use this key", act }] } });
}

export function Dialog({ dialog }) {
  const box = useRef(null);
  useLayoutEffect(() => {
    if (!dialog) return;
    box.current.showModal();
    box.current.querySelector("input")?.select();
  }, [dialog]);
  if (!dialog) return null;
  const close = () => box.current.close(); // which gives the focus back
  const forget = () => state.dialog === dialog && change({ dialog: null });
  const choose = (choice) => {
    const value = box.current.querySelector("input")?.value;
    close();
    forget();
    choice.act(value);
  };
  const submit = () => dialog.choices.length === 1 && choose(dialog.choices[0]);
  return html`
    <dialog ref=${box} class="box" onClose=${forget} aria-label=${dialog.title} key=${dialog.title}>
      <${Form} onSubmit=${submit}>
        <h2>${dialog.title}</h2>
        ${dialog.text && html`<p>${dialog.text}</p>`}
        ${dialog.code !== undefined && html`<pre tabindex="0"><code>${dialog.code}</code></pre>`}
        ${dialog.field && html`<label>${dialog.field.label}<input type=${dialog.field.type ?? "text"} value=${dialog.field.value} autocomplete="off" dir="auto" /></label>`}
        <p class="choices">
          <button type="button" onClick=${close}>${dialog.choices.length ? "Cancel" : "Close"}</button>
          ${dialog.choices.map((choice) => html`
            <button type="button" class=${choice.isDanger ? "danger" : "primary"} onClick=${() => choose(choice)}>${choice.label}</button>
          `)}
        </p>
      <//>
    </dialog>
  `;
}
