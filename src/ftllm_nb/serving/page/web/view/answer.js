// An answer: its thoughts, its text, how it ended, and how fast it was.
import { goOn, retry } from "../state/answers.js";
import { CopyButton } from "./copy_button.js";
import { FailureView } from "./failure_view.js";
import { html, remembered } from "./html.js";
import { IconButton } from "./icons.js";
import { Markdown } from "./markdown_view.js";
import { Thoughts } from "./thoughts.js";
import { Versions } from "./versions.js";

export const Answer = remembered(({ message, versions, at, isLast, isRunning, isMadeHere }) => {
  const { text, thinking, calls = [], status } = message;
  const isWaiting = status === "streaming" && !text && !thinking && !calls.length;
  return html`
    <article class=${`answer is-${status}`} aria-label="Answer">
      ${thinking && html`<${Thoughts} message=${message} />`}
      ${text && html`<${Markdown} text=${text} isWhole=${status !== "streaming"} />`}
      ${calls.map((call) => html`<${Call} call=${call} />`)}
      ${isWaiting && html`<p class="waiting" role="status" aria-label="Waiting for the answer"><i></i><i></i><i></i></p>`}
      ${status === "streaming" && !isMadeHere && html`<p class="mark">Another tab asked for this answer.</p>`}
      ${status === "failed" && html`<${FailureView} message=${message} isRunning=${isRunning} />`}
      <${Ending} message=${message} isRunning=${isRunning} />
      ${status !== "streaming" && html`
        <div class=${`tools ${isLast ? "is-last" : ""}`}>
          <${Versions} versions=${versions} at=${at} disabled=${isRunning} />
          ${text && html`<${CopyButton} text=${text} />`}
          ${status !== "failed" && html`<${IconButton} name="retry" label="Try again" disabled=${isRunning} onClick=${() => retry(message)} />`}
          <${Counts} counts=${message.counts} />
        </div>
      `}
      ${isMadeHere && message.counts && html`<div class="tools is-last"><${Counts} counts=${message.counts} /></div>`}
    </article>
  `;
});

const ENDINGS = {
  stopped: "Stopped",
  interrupted: "Interrupted: the page was closed or reloaded before the answer was whole",
  length: "Ended at the longest length",
  repetition: "Ended, since it only repeated itself",
};

function Ending({ message, isRunning }) {
  if (!(message.status in ENDINGS)) return null;
  return html`
    <p class="mark">
      ${ENDINGS[message.status]}
      ${message.text.trim() && html`<button type="button" class="link" disabled=${isRunning} onClick=${() => goOn(message)}>Go on</button>`}
      <button type="button" class="link" disabled=${isRunning} onClick=${() => retry(message)}>Try again</button>
    </p>
  `;
}

const Call = ({ call }) => html`
  <figure class="call"><figcaption>Calls <code>${call.name}</code></figcaption><pre tabindex="0"><code>${call.arguments}</code></pre></figure>
`;

function Counts({ counts }) {
  if (!counts) return null;
  const { answer, prompt, known, perSecond, promptMs, context } = counts;
  const number = (value) => value.toLocaleString("en");
  const parts = [`${number(answer)} token${answer === 1 ? "" : "s"}`];
  if (perSecond > 0) parts.push(`${perSecond.toFixed(1)} tokens/s`);
  if (promptMs !== null) parts.push(`prompt of ${number(prompt)}${known ? `, ${number(known)} of them known` : ""}, in ${duration(promptMs)}`);
  if (context) parts.push(`${number(prompt + answer)} of ${number(context)} in context`);
  return html`<span class="counts">${parts.join(" · ")}</span>`;
}

const duration = (milliseconds) => (milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`);
