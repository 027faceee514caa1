// Conversations as files: Markdown to read, JSON to keep and to bring back.
import { questionText } from "./asked.js";
import * as database from "./database.js";
import { newId } from "./ids.js";

const FORMAT = "ftllm-nb conversations 1";

export function asMarkdown(title, path) {
  const parts = path.map(({ message }) => {
    const thought = message.thinking ? `<details><summary>Thoughts</summary>\n\n${message.thinking}\n\n</details>\n\n` : "";
    return message.role === "user" ? `## Question\n\n${questionText(message)}` : `## Answer\n\n${thought}${message.text}`;
  });
  return [`# ${title}`, ...parts].join("\n\n") + "\n";
}

// All versions of all messages, of one conversation or of every one.
export async function asJson(id = null) {
  const conversations = (await database.allConversations()).filter((each) => id === null || each.id === id);
  const found = await Promise.all(
    conversations.map(async (conversation) => ({ conversation, messages: await database.messagesOf(conversation.id) })),
  );
  return JSON.stringify({ format: FORMAT, conversations: found }, null, 1);
}

// What `asJson` wrote, with new names, so that nothing that is there is written over. Throws a sentence.
export function fromJson(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("The file is no JSON.");
  }
  try {
    if (found.format === FORMAT) return found.conversations.map(({ conversation, messages }) => renamed(conversation, messages));
  } catch {
    // It has another form.
  }
  throw new Error("The file holds no conversations of this page: choose one that it exported as JSON.");
}

function renamed(conversation, messages) {
  const id = newId();
  const names = new Map(messages.map((message) => [message.id, newId()]));
  const nameOf = (old) => names.get(old) ?? null;
  const chosen = Object.entries(conversation.chosen ?? {}).map(([parent, child]) => [nameOf(parent) ?? "top", nameOf(child)]);
  return {
    conversation: {
      id,
      title: text(conversation.title) || "Untitled",
      created: number(conversation.created),
      updated: Date.now(),
      chosen: Object.fromEntries(chosen),
      from: nameOf(conversation.from),
    },
    messages: messages.map((message) => ({
      id: nameOf(message.id),
      conversation: id,
      parent: nameOf(message.parent),
      role: message.role === "user" ? "user" : "assistant",
      text: text(message.text),
      thinking: text(message.thinking),
      calls: list(message.calls).map((call) => ({ name: text(call.name), arguments: text(call.arguments) })),
      files: list(message.files).map((file) => ({ name: text(file.name), text: text(file.text) })),
      created: number(message.created),
      deleted: message.deleted === true,
      status: message.status === "streaming" ? "interrupted" : text(message.status),
      error: message.error ? { kind: text(message.error.kind), message: text(message.error.message) } : null,
    })),
  };
}

const list = (value) => (Array.isArray(value) ? value : []);
const text = (value) => (typeof value === "string" ? value : "");
const number = (value) => (Number.isFinite(value) ? value : Date.now());

// Lets the browser save a text as a file.
export function save(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const fileName = (title, ending) => `${title.replace(/[^\p{L}\p{N}]+/gu, " ").trim().slice(0, 60) || "conversation"}.${ending}`;
