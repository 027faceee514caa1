// ‹ 2/3 ›: which version of a message is shown.
import { choose } from "../state/conversations.js";
import { state } from "../state/store.js";
import { html } from "./html.js";
import { IconButton } from "./icons.js";

export function Versions({ versions, at, disabled }) {
  const ids = versions.split(" ");
  if (ids.length < 2) return null;
  const show = (index) => choose(state.messages.get(ids[index]));
  return html`
    <span class="versions">
      <${IconButton} name="previous" label="Previous version" disabled=${disabled || at === 0} onClick=${() => show(at - 1)} />
      <span aria-label=${`Version ${at + 1} of ${ids.length}`}>${at + 1}/${ids.length}</span>
      <${IconButton} name="next" label="Next version" disabled=${disabled || at === ids.length - 1} onClick=${() => show(at + 1)} />
    </span>
  `;
}
