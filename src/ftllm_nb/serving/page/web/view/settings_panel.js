// What can be set: how the model answers, and how the page looks.
import { complaint, NUMBERS, set, useDefaults } from "../state/settings.js";
import { change } from "../state/store.js";
import { Form } from "./form.js";
import { html, remembered, useLayoutEffect, useRef } from "./html.js";
import { IconButton } from "./icons.js";

const THEMES = [["auto", "Device"], ["light", "Light"], ["dark", "Dark"]];
const THINKING = [["", "Model's own"], ["on", "On"], ["off", "Off"]];

export const SettingsPanel = remembered(({ isOpen, settings, about }) => {
  const panel = useRef(null);
  useLayoutEffect(() => {
    if (isOpen) panel.current.showModal();
  }, [isOpen]);
  if (!isOpen) return null;
  const close = () => panel.current.close(); // which gives the focus back
  return html`
    <dialog class="panel" ref=${panel} onClose=${() => change({ settingsAreOpen: false })} onClick=${(event) => event.target === panel.current && close()} aria-label="Settings">
      <${Form} class="panel-body">
        <div class="panel-head"><h2>Settings</h2><${IconButton} name="close" label="Close settings" onClick=${close} /></div>
        <label class="field">System prompt
          <textarea rows="4" dir="auto" placeholder="None: the model's own" value=${settings.system ?? ""} onInput=${(event) => set("system", event.target.value)}></textarea>
        </label>
        <div class="grid">${NUMBERS.map((number) => html`<${NumberField} key=${number.name} number=${number} value=${settings[number.name] ?? ""} about=${about} />`)}</div>
        ${about?.thinking && html`<${Choice} name="thinking" label="Thinking" options=${THINKING} value=${settings.thinking ?? ""} />`}
        <button type="button" onClick=${useDefaults}>Use the model's own settings</button>
        <${Choice} name="theme" label="Appearance" options=${THEMES} value=${settings.theme ?? "auto"} />
        <p class="note">They hold for all conversations in this browser.</p>
      <//>
    </dialog>
  `;
});

function NumberField({ number, value, about }) {
  const { name, label, info, low, high, step, whole, none } = number;
  const wrong = complaint(number, value);
  const own = about?.defaults?.[name] ?? none ?? "";
  return html`
    <label class="field">${label}
      <input
        type="number" inputmode=${whole ? "numeric" : "decimal"} min=${low} max=${high} step=${step ?? 1} placeholder=${own}
        value=${value} onInput=${(event) => set(name, event.target.value)} aria-invalid=${Boolean(wrong)}
      />
      <small class=${wrong ? "wrong" : ""}>${wrong || info}</small>
    </label>
  `;
}

const Choice = ({ name, label, options, value }) => html`
  <fieldset class="choice">
    <legend>${label}</legend>
    ${options.map(([option, text]) => html`
      <label><input type="radio" name=${name} value=${option} checked=${option === value} onChange=${() => set(name, option)} /><span>${text}</span></label>
    `)}
  </fieldset>
`;
