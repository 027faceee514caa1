// Why there is no answer, or no more of it, and what can be done.
import { retry } from "../state/answers.js";
import { openNew } from "../state/conversations.js";
import { dropOldest } from "../state/overflow.js";
import { change } from "../state/store.js";
import { askKey } from "./dialogs.js";
import { html } from "./html.js";

const AGAIN = { label: "Try again", act: retry };
const SETTINGS = { label: "Open the settings", act: () => change({ settingsAreOpen: true }) };
const OFFERS = {
  overflow: [
    { label: "Leave out the oldest turns", act: dropOldest },
    { label: "New conversation", act: openNew },
  ],
  large: [{ label: "New conversation", act: openNew }],
  key: [{ label: "Enter the key", act: (message) => askKey(() => retry(message)) }],
  setting: [SETTINGS, AGAIN],
  request: [SETTINGS, AGAIN],
};

export function FailureView({ message, isRunning }) {
  const { kind, message: sentence } = message.error;
  const offers = OFFERS[kind] ?? [AGAIN];
  return html`
    <div class="failure" role="alert">
      <p><strong>${message.text ? "The answer ended early." : "No answer."}</strong> ${sentence}</p>
      <p>${offers.map(({ label, act }) => html`<button type="button" disabled=${isRunning} onClick=${() => act(message)}>${label}</button>`)}</p>
    </div>
  `;
}
