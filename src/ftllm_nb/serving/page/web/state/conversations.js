// Conversations: which one is shown, and what is changed in them. All of it is kept by the browser.
import * as database from "./database.js";
import { newId } from "./ids.js";
import { notify, notifyOfStorage } from "./notices.js";
import { change, state } from "./store.js";
import { isMadeElsewhere, listenToTabs, tellChanged, tellRemoved } from "./tabs.js";
import { choosing, pathThrough } from "./tree.js";

const TITLE = 60; // characters
let latest = null;

export const shownPath = () => pathThrough(state.messages, state.current?.chosen);

// The address of the page names the conversation, so that a reload, a bookmark and the way back find it.
const addressed = () => decodeURIComponent(location.hash.slice(1));

export async function startConversations() {
  change({ unkept: await database.whyUnkept() });
  listenToTabs({
    changed: (conversation) => refresh(conversation),
    removed: removedElsewhere,
    makes: (message) => [...state.running.values()].some((run) => run.message.id === message),
  });
  addEventListener("hashchange", () => open(addressed()));
  await loadList();
  await open(addressed());
}

async function loadList() {
  const list = await database.allConversations();
  change({ list: list.sort((one, other) => other.updated - one.updated) });
}

// Show a conversation; an id that is not known, or none, is a new one.
export async function open(id) {
  const opening = {};
  latest = opening;
  const current = id ? await database.conversationOf(id) : null;
  const messages = current ? await readMessages(id) : new Map();
  if (latest !== opening) return; // another one was asked for meanwhile
  if (addressed() !== (current?.id ?? "")) history.replaceState(null, "", current ? `#${current.id}` : location.pathname + location.search);
  change({ current: current ?? null, messages, listIsOpen: false });
  for (const message of messages.values()) if (message.status === "streaming") await markIfInterrupted(message);
}

export function openNew() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  return open("");
}

export function go(id) {
  location.hash = id;
}

async function readMessages(id) {
  const messages = new Map((await database.messagesOf(id)).map((message) => [message.id, message]));
  const running = state.running.get(id)?.message;
  return running ? messages.set(running.id, running) : messages;
}

// An answer that nobody makes any more was cut off by a reload or a crash.
async function markIfInterrupted(message) {
  if (state.running.get(message.conversation)?.message.id === message.id || (await isMadeElsewhere(message.id))) return;
  await saveMessage({ ...message, status: "interrupted" });
}

async function refresh(id) {
  await loadList();
  if (state.current?.id !== id) return;
  const messages = await readMessages(id);
  const current = state.current;
  if (current?.id !== id) return;
  // Which versions are shown is each tab's own affair.
  const stored = state.list.find((each) => each.id === id);
  change({ messages, current: { ...current, ...stored, chosen: current.chosen } });
}

function removedElsewhere(id) {
  state.running.get(id)?.abandon();
  change({ list: state.list.filter((each) => each.id !== id) });
  if (state.current?.id !== id) return;
  openNew();
  notify("This conversation was deleted in another tab.");
}

// The conversation that is shown, which begins with its first question.
export async function begun(question) {
  if (state.current) return state.current;
  const now = Date.now();
  const current = { id: newId(), title: titleFrom(question), created: now, updated: now, chosen: {} };
  change({ current, messages: new Map() });
  await kept(database.putConversation(current));
  history.pushState(null, "", `#${current.id}`);
  return current;
}

export const titleFrom = (text) => {
  const line = text.trim().split("\n", 1)[0].trim() || "Untitled";
  return line.length > TITLE ? `${line.slice(0, TITLE - 1).trimEnd()}…` : line;
};

// Another tab may have changed the rest of it. What was deleted there is not brought back.
async function saveConversation(id, changes) {
  if (state.current?.id === id) change({ current: { ...state.current, ...changes } });
  const stored = await database.conversationOf(id);
  if (!stored) return;
  await kept(database.putConversation({ ...stored, ...changes }));
  await loadList();
  tellChanged(id);
}

// Shows a message where its conversation is shown; `saveMessage` keeps it as well.
export function showMessage(message) {
  if (state.current?.id === message.conversation) change({ messages: new Map(state.messages).set(message.id, message) });
}

export async function saveMessage(message) {
  showMessage(message);
  await kept(database.putMessage(message));
  tellChanged(message.conversation, message.id);
}

// A new message: shown as the version that was chosen, and its conversation as the one that was used last.
export async function addMessage(message) {
  showMessage(message);
  await choose(message, { updated: Date.now() });
  await saveMessage(message);
}

export async function choose(message, changes = {}) {
  if (state.current?.id !== message.conversation) return;
  const chosen = choosing(state.messages, state.current.chosen, message);
  await saveConversation(message.conversation, { ...changes, chosen });
}

export const rename = (conversation, title) => saveConversation(conversation.id, { title: title.trim() || conversation.title });

// Messages before this question are not told to the model any more.
export const leaveOutBefore = (question) => saveConversation(state.current.id, { from: question.id });

export async function remove(conversation) {
  state.running.get(conversation.id)?.abandon();
  await kept(database.deleteConversation(conversation.id));
  tellRemoved(conversation.id);
  await loadList();
  if (state.current?.id === conversation.id) await openNew();
}

// Takes a question and the answer that is shown below it away; the rest of the conversation stays.
export async function deleteTurn(question) {
  const path = shownPath().map((place) => place.message);
  const next = path[path.indexOf(question) + 1];
  const taken = next?.role === "assistant" ? [question, next] : [question];
  for (const message of taken) await saveMessage({ ...message, deleted: true });
  notify("The turn was deleted.", {
    label: "Undo",
    act: () => taken.forEach((message) => saveMessage(message)),
  });
}

// What was read from a file: [{conversation, messages}].
export async function add(imported) {
  for (const { conversation, messages } of imported) {
    for (const message of messages) await kept(database.putMessage(message));
    await kept(database.putConversation(conversation));
    tellChanged(conversation.id);
  }
  await loadList();
}

async function kept(work) {
  try {
    await work;
  } catch (error) {
    notifyOfStorage(error);
  }
}
