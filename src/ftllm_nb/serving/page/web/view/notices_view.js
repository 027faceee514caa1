// Notices at the lower edge.
import { dismiss } from "../state/notices.js";
import { html } from "./html.js";
import { IconButton } from "./icons.js";

export function Notices({ notices }) {
  const act = ({ id, action }) => {
    dismiss(id);
    action.act();
  };
  return html`
    <div class="notices" role="status" aria-live="polite">
      ${notices.map((notice) => html`
        <p key=${notice.id}>
          ${notice.text}
          ${notice.action && html`<button type="button" class="link" onClick=${() => act(notice)}>${notice.action.label}</button>`}
          <${IconButton} name="close" label="Dismiss" onClick=${() => dismiss(notice.id)} />
        </p>
      `)}
    </div>
  `;
}
