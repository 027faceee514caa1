// Above a conversation: the page's title, and what answers.
import { asMarkdown, asJson, fileName, save } from "../state/transfer.js";
import { shownPath } from "../state/conversations.js";
import { change, state } from "../state/store.js";
import { html } from "./html.js";
import { IconButton } from "./icons.js";

export function Header() {
  const { about, current } = state;
  return html`
    <header>
      <${IconButton} name="list" label="Show conversations" class="icon-button only-narrow" onClick=${() => change({ listIsOpen: true })} />
      <div class="titles">
        <h1>${document.title}</h1>
        <p id="model">${modelLine(about)}</p>
      </div>
      ${current && html`<${IconButton} name="export" label="Export this conversation" onClick=${() => askExport(current)} />`}
      <${IconButton} name="settings" label="Settings" onClick=${() => change({ settingsAreOpen: true })} />
    </header>
  `;
}

function modelLine(about) {
  if (!about) return "connecting …";
  if (!about.ready) return `${about.model} · loading …`;
  const threads = `${about.threads} thread${about.threads === 1 ? "" : "s"}`;
  return [about.model, about.weights, about.tier, threads, `${about.context.toLocaleString("en")} tokens of context`].join(" · ");
}

function askExport(conversation) {
  const { title, id } = conversation;
  const choices = [
    { label: "Markdown", act: () => save(fileName(title, "md"), asMarkdown(title, shownPath()), "text/markdown") },
    { label: "JSON", act: async () => save(fileName(title, "json"), await asJson(id), "application/json") },
  ];
  const text = "Markdown holds what is shown, to be read. JSON holds all versions of it, and can be imported again.";
  change({ dialog: { title: "Export this conversation", text, choices } });
}
