// What a model thought: open while it does, folded once it answers.
import { html } from "./html.js";
import { Markdown } from "./markdown_view.js";

export function Thoughts({ message }) {
  const isThinking = message.status === "streaming" && !message.text;
  const seconds = message.thoughtMs / 1000;
  const label = isThinking ? "Thinking …" : seconds ? `Thought for ${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s` : "Thoughts";
  return html`
    <details class="thoughts" open=${isThinking}>
      <summary>${label}</summary>
      <${Markdown} text=${message.thinking} isWhole=${!isThinking} />
    </details>
  `;
}
