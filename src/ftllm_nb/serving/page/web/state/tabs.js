// What this browser's tabs tell each other: that a conversation changed, and which answers are still being made.
import { newId } from "./ids.js";

const WAIT = 300; // milliseconds in which a tab that makes an answer says so
const channel = new BroadcastChannel("ftllm-nb");
const handlers = { changed: () => {}, removed: () => {}, makes: () => false };
const waiting = new Map();

channel.onmessage = ({ data }) => {
  if (data.kind === "changed") handlers.changed(data.conversation, data.message);
  else if (data.kind === "removed") handlers.removed(data.conversation);
  else if (data.kind === "who" && handlers.makes(data.message)) channel.postMessage({ kind: "me", answer: data.answer });
  else if (data.kind === "me") waiting.get(data.answer)?.(true);
};

// {changed(conversation, message), removed(conversation), makes(message)}: what other tabs say, and are answered.
export function listenToTabs(given) {
  Object.assign(handlers, given);
}

export const tellChanged = (conversation, message = null) => channel.postMessage({ kind: "changed", conversation, message });
export const tellRemoved = (conversation) => channel.postMessage({ kind: "removed", conversation });

// Whether another tab is making this answer.
export function isMadeElsewhere(message) {
  const answer = newId();
  channel.postMessage({ kind: "who", message, answer });
  return new Promise((resolve) => {
    waiting.set(answer, resolve);
    setTimeout(resolve, WAIT, false);
  }).finally(() => waiting.delete(answer));
}
