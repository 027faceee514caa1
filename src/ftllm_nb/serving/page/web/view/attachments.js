// Files beside a question: a chip with a name and a size, which opens to show the text.
import { change } from "../state/store.js";
import { html } from "./html.js";
import { icon, IconButton } from "./icons.js";

export function Chip({ file, remove = null, context = Infinity }) {
  const size = file.tokens === undefined ? `${file.text.length.toLocaleString("en")} characters` : `${file.tokens.toLocaleString("en")} tokens`;
  const isTooLarge = file.tokens > context;
  return html`
    <span class=${`chip ${isTooLarge ? "is-too-large" : ""}`}>
      <button type="button" class="quiet" onClick=${() => change({ dialog: { title: file.name, code: file.text, choices: [] } })}>
        ${icon("attach")} <span class="name">${file.name}</span>
        <span class="size">${size}${isTooLarge ? `, more than the model's ${context.toLocaleString("en")}` : ""}</span>
      </button>
      ${remove && html`<${IconButton} name="close" label=${`Remove ${file.name}`} onClick=${remove} />`}
    </span>
  `;
}
