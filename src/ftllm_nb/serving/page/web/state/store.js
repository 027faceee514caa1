// What the page shows at the moment. It is changed by `change` alone, which tells the view to draw it again.

export const state = {
  about: null, // what the server says of its model; null before the first answer
  list: [], // all conversations, the last used first
  current: null, // the conversation that is shown; null for one that has not begun
  messages: new Map(), // of the current conversation: its messages by id, all versions of them
  running: new Map(), // answers that are being made for this tab, by their conversation's id
  notices: [], // short sentences at the lower edge
  dialog: null, // what is asked at the moment, see view/dialogs.js
  search: "",
  found: null, // what the search found, by conversation's id; null without one
  listIsOpen: false, // on narrow screens
  settingsAreOpen: false,
  settings: {},
  unkept: "", // why the browser keeps nothing; empty where it does
};

const listeners = new Set();

export function change(changes) {
  Object.assign(state, changes);
  for (const tell of listeners) tell();
}

export function onChange(tell) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}
