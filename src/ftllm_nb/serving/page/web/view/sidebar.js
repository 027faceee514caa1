// The list of conversations.
import { add, go, openNew, remove, rename } from "../state/conversations.js";
import { notify } from "../state/notices.js";
import { search } from "../state/search.js";
import { change, state } from "../state/store.js";
import { asJson, fromJson, save } from "../state/transfer.js";
import { Form } from "./form.js";
import { html, remembered, useRef } from "./html.js";
import { icon, IconButton } from "./icons.js";

export const Sidebar = remembered(({ current, list, running, search: wanted, found, isOpen }) => {
  const shown = found ? list.filter((conversation) => found.has(conversation.id)) : list;
  return html`
    <nav class=${`sidebar ${isOpen ? "is-open" : ""}`} aria-label="Conversations">
      <button type="button" class="new" onClick=${openNew}>${icon("add")} New conversation</button>
      <${Form} class="search" role="search">
        ${icon("search")}
        <input type="search" placeholder="Search" aria-label="Search conversations" value=${wanted} onInput=${(event) => search(event.target.value)} />
      <//>
      <ul class="list">
        ${shown.map((conversation) => html`
          <${Entry}
            key=${conversation.id}
            conversation=${conversation}
            isCurrent=${conversation.id === current}
            isRunning=${running.has(conversation.id)}
            excerpt=${found?.get(conversation.id) ?? ""}
          />
        `)}
      </ul>
      ${!shown.length && html`<p class="nothing">${found ? "Nothing found." : "Conversations will be listed here. This browser keeps them."}</p>`}
      ${state.unkept && html`<p class="nothing">This browser keeps nothing: ${state.unkept}. Conversations are gone when the tab is closed.</p>`}
      <${Files} isEmpty=${!list.length} />
    </nav>
  `;
});

const Entry = remembered(({ conversation, isCurrent, isRunning, excerpt }) => {
  const { id, title } = conversation;
  return html`
    <li class=${isCurrent ? "is-current" : ""}>
      <a href=${`#${id}`} aria-current=${isCurrent ? "page" : null} onClick=${() => change({ listIsOpen: false })} dir="auto">
        <span class="title">${title}</span>
        ${excerpt && html`<span class="excerpt">${excerpt}</span>`}
      </a>
      ${isRunning && html`<span class="dot" role="img" aria-label="Being answered"></span>`}
      <${IconButton} name="edit" label=${`Rename ${title}`} onClick=${() => askName(conversation)} />
      <${IconButton} name="remove" label=${`Delete ${title}`} onClick=${() => askRemoval(conversation)} />
    </li>
  `;
});

function askName(conversation) {
  change({ dialog: { title: "Rename", field: { label: "Title", value: conversation.title }, choices: [{ label: "Rename", act: (title) => rename(conversation, title) }] } });
}

function askRemoval(conversation) {
  const text = `“${conversation.title}” and all its versions will be gone from this browser.`;
  change({ dialog: { title: "Delete this conversation?", text, choices: [{ label: "Delete", isDanger: true, act: () => remove(conversation) }] } });
}

function Files({ isEmpty }) {
  const input = useRef(null);
  const read = async (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    try {
      const imported = fromJson(await file.text());
      await add(imported);
      if (imported.length === 1) go(imported[0].conversation.id);
      notify(`${imported.length} conversation${imported.length === 1 ? " was" : "s were"} imported.`);
    } catch (error) {
      notify(error.message);
    }
  };
  return html`
    <div class="files">
      <input type="file" accept=".json,application/json" ref=${input} onChange=${read} hidden aria-label="File to import" />
      <button type="button" class="quiet" onClick=${() => input.current.click()}>${icon("import")} Import</button>
      <button type="button" class="quiet" disabled=${isEmpty} onClick=${async () => save("conversations.json", await asJson(), "application/json")}>
        ${icon("export")} Export all
      </button>
    </div>
  `;
}
