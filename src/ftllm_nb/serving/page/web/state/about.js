// Asks the server what its model is: until it has loaded, and again when it was out of reach.
import { about } from "../api/client.js";
import { change } from "./store.js";

const LOADING = 500; // milliseconds between two questions
const AWAY = 2000;

// `needsKey(then)` is called where the server asks for a key.
export async function watchServer(needsKey) {
  try {
    const found = await about();
    change({ about: found });
    if (!found.ready) setTimeout(watchServer, LOADING, needsKey);
  } catch (error) {
    if (error.kind === "key") needsKey(() => watchServer(needsKey));
    else setTimeout(watchServer, AWAY, needsKey);
  }
}
