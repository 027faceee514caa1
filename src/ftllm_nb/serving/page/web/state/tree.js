// Messages of a conversation are a tree, in which nothing is overwritten: another version of an answer, or of a
// question, is one more child of the same parent. A path through it is what is shown and what the model is told.
// A deleted message stays as an empty place, so that what was said below it keeps its own.

const byAge = (one, other) => one.created - other.created || (one.id < other.id ? -1 : 1);

// Children by their parent's id, which is null at the top; children of deleted messages take their parent's place.
function childrenOf(messages) {
  const children = new Map();
  for (const message of messages.values()) {
    if (message.deleted) continue;
    const parent = livingParent(messages, message);
    children.set(parent, [...(children.get(parent) ?? []), message]);
  }
  for (const siblings of children.values()) siblings.sort(byAge);
  return children;
}

function livingParent(messages, message) {
  let parent = messages.get(message.parent);
  while (parent?.deleted) parent = messages.get(parent.parent);
  return parent?.id ?? null;
}

// The messages that are shown, from the first to the last: [{message, versions, at}]. `chosen` names the child of
// each parent; where it does not, the newest is shown.
export function pathThrough(messages, chosen = {}) {
  const children = childrenOf(messages);
  const path = [];
  let parent = null;
  for (let siblings = children.get(null); siblings; siblings = children.get(parent)) {
    const wanted = siblings.findIndex((message) => message.id === chosen[parent ?? "top"]);
    const at = wanted >= 0 ? wanted : siblings.length - 1;
    path.push({ message: siblings[at], versions: siblings.map((message) => message.id), at });
    parent = siblings[at].id;
  }
  return path;
}

// What `chosen` becomes when a message is to be shown.
export function choosing(messages, chosen, message) {
  return { ...chosen, [livingParent(messages, message) ?? "top"]: message.id };
}
