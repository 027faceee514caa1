// The browser's IndexedDB: conversations, and their messages one by one, so that two tabs never write over each other.
// Without it, as in some private windows, everything is in memory and gone with the tab.

const NAME = "ftllm-nb";
let opening = null;
const memory = { conversations: new Map(), messages: new Map() };

// Why nothing is kept; empty where it is.
export async function whyUnkept() {
  try {
    await opened();
    return "";
  } catch (error) {
    return error.message || "the browser has no storage for this page";
  }
}

export const allConversations = () => all("conversations");
export const allMessages = () => all("messages");
export const conversationOf = (id) => run("conversations", "readonly", (store) => store.get(id), () => memory.conversations.get(id));

export function messagesOf(conversation) {
  const inMemory = () => [...memory.messages.values()].filter((message) => message.conversation === conversation);
  return run("messages", "readonly", (store) => store.index("conversation").getAll(conversation), inMemory);
}

export const putConversation = (conversation) => put("conversations", conversation);
export const putMessage = (message) => put("messages", message);

export async function deleteConversation(id) {
  const messages = await messagesOf(id);
  for (const message of messages) {
    await run("messages", "readwrite", (store) => store.delete(message.id), () => memory.messages.delete(message.id));
  }
  await run("conversations", "readwrite", (store) => store.delete(id), () => memory.conversations.delete(id));
}

const all = (name) => run(name, "readonly", (store) => store.getAll(), () => [...memory[name].values()]);
const put = (name, value) =>
  run(name, "readwrite", (store) => store.put(value), () => memory[name].set(value.id, structuredClone(value)));

// What `act` asks of a store, once it is on disk; `otherwise` is the same in memory.
async function run(name, mode, act, otherwise) {
  let database;
  try {
    database = await opened();
  } catch {
    return otherwise();
  }
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(name, mode);
    const request = act(transaction.objectStore(name));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error ?? new Error("the browser's storage refused it"));
  });
}

function opened() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("conversations", { keyPath: "id" });
      request.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds an older version of the storage"));
  });
  return opening;
}
