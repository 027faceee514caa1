// Short sentences at the lower edge, with something to press where there is something to do.
import { newId } from "./ids.js";
import { change, state } from "./store.js";

const SECONDS = 8;

export function notify(text, action = null) {
  const notice = { id: newId(), text, action };
  change({ notices: [...state.notices.filter((each) => each.text !== text), notice].slice(-3) });
  setTimeout(() => dismiss(notice.id), SECONDS * 1000);
}

export function dismiss(id) {
  if (state.notices.some((notice) => notice.id === id)) change({ notices: state.notices.filter((notice) => notice.id !== id) });
}

export function notifyOfStorage(error) {
  const isFull = error?.name === "QuotaExceededError";
  notify(
    isFull
      ? "The browser's storage is full: export or delete conversations, or this one will not be kept."
      : `The browser does not keep this conversation: ${error?.message ?? error}.`,
  );
}
