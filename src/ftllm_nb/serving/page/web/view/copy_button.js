// Copies a message, and says so for a moment.
import { copy } from "../text/copy.js";
import { html, useState } from "./html.js";
import { IconButton } from "./icons.js";

const SECONDS = 1.5;

export function CopyButton({ text }) {
  const [isDone, setDone] = useState(false);
  const press = async () => {
    await copy(text);
    setDone(true);
    setTimeout(setDone, SECONDS * 1000, false);
  };
  return html`<${IconButton} name=${isDone ? "done" : "copy"} label=${isDone ? "Copied" : "Copy message"} onClick=${press} />`;
}
