// Asks the server what its model is: until it has loaded, and again when it was out of reach.
import { about } from "../api/client.js";
import { change } from "./store.js";

const LOADING = 500; // milliseconds between two questions
const AWAY = 2000;

let askKey = () => {};
let timer = 0;

// `needsKey(then)` is called where the server asks for a key.
export function startWatching(needsKey) {
  askKey = needsKey;
  return watchServer();
}

export async function watchServer() {
  clearTimeout(timer);
  try {
    const found = await about();
    change({ about: found });
    if (!found.ready) timer = setTimeout(watchServer, LOADING);
  } catch (error) {
    change({ about: null });
    if (error.kind === "key") askKey(watchServer);
    else timer = setTimeout(watchServer, AWAY);
  }
}
