// The whole page.
import { stop, runOf } from "../state/answers.js";
import { change, onChange, state } from "../state/store.js";
import { Composer, offerFiles } from "./composer.js";
import { Dialog } from "./dialogs.js";
import { Header } from "./header.js";
import { html, useLayoutEffect, useReducer, useState } from "./html.js";
import { Notices } from "./notices_view.js";
import { SettingsPanel } from "./settings_panel.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";

export function App() {
  const [, draw] = useReducer((count) => count + 1, 0);
  // Before the browser paints: an effect would come after the paint, and miss what the server answers until then.
  useLayoutEffect(() => onChange(draw), []);
  const { current, list, running, search, found, listIsOpen } = state;
  return html`
    <${Sidebar} ...${{ current: current?.id, list, running, search, found }} isOpen=${listIsOpen} />
    ${listIsOpen && html`<div class="shade" onClick=${() => change({ listIsOpen: false })}></div>`}
    <${Main} />
    <${SettingsPanel} isOpen=${state.settingsAreOpen} settings=${state.settings} about=${state.about} />
    <${Dialog} dialog=${state.dialog} />
    <${Notices} notices=${state.notices} />
  `;
}

function Main() {
  const [isTarget, setTarget] = useState(false);
  const drag = {
    onDragOver: (event) => {
      event.preventDefault();
      setTarget(event.dataTransfer.types.includes("Files"));
    },
    onDragLeave: (event) => event.currentTarget.contains(event.relatedTarget) || setTarget(false),
    onDrop: (event) => {
      event.preventDefault();
      setTarget(false);
      offerFiles([...event.dataTransfer.files]);
    },
  };
  return html`
    <main class=${isTarget ? "is-target" : ""} ...${drag}>
      <${Header} />
      <${Thread} />
      <${Composer} current=${state.current} isRunning=${Boolean(runOf(state.current))} />
    </main>
  `;
}

// Escape stops an answer, unless it closes something.
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.type === "search" && event.target.value) return; // which it clears
  if (state.listIsOpen) change({ listIsOpen: false });
  else stop();
});
