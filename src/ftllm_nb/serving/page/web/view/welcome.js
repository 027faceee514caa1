// What stands where a conversation will.
import { send } from "../state/answers.js";
import { html } from "./html.js";

const EXAMPLES = ["What is 17 + 25?", "What is the capital of France?", "Count from 3 to 9."];

export const Welcome = () => html`
  <div class="welcome">
    <h2>Ask the model something</h2>
    <p>What you write stays between this browser and this server.</p>
    <div class="examples">
      ${EXAMPLES.map((example) => html`<button type="button" onClick=${() => send(example, [])}>${example}</button>`)}
    </div>
  </div>
`;
