// A button that puts a text on the clipboard, which browsers allow on this machine and over TLS only.

import { element } from "./inline.js";

/** The button, or null where the browser has no clipboard for this page. `text()` gives what is copied. */
export function copyButton(text) {
  if (!navigator.clipboard) return null;
  const button = element("button", ["Copy"], "plain");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Refused";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
