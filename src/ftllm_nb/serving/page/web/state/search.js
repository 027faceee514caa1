// Finds conversations by what was said in them.
import * as database from "./database.js";
import { change, state } from "./store.js";

const WAIT = 150; // milliseconds after the last letter
const AROUND = 30; // characters of a text before and after what was found
let timer = 0;

export function search(text) {
  change({ search: text });
  clearTimeout(timer);
  timer = setTimeout(find, WAIT, text);
}

async function find(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return change({ found: null });
  const found = new Map();
  for (const conversation of state.list) {
    if (conversation.title.toLowerCase().includes(wanted)) found.set(conversation.id, "");
  }
  for (const message of await database.allMessages()) {
    const at = message.deleted ? -1 : message.text.toLowerCase().indexOf(wanted);
    if (at >= 0 && !found.get(message.conversation)) found.set(message.conversation, excerpt(message.text, at, wanted.length));
  }
  if (state.search === text) change({ found });
}

function excerpt(text, at, length) {
  const start = Math.max(at - AROUND, 0);
  const end = at + length + AROUND;
  return `${start ? "…" : ""}${text.slice(start, end).replace(/\s+/g, " ")}${end < text.length ? "…" : ""}`;
}
