// A frame around code: its language, and a button that copies it.
import { copy } from "./copy.js";

const SECONDS = 1.5;

export function codeFrame(pre, language) {
  const frame = element("div", "code-frame");
  const head = element("div", "code-head");
  const button = element("button", "quiet", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", "Copy code");
  button.addEventListener("click", async () => {
    await copy(pre.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), SECONDS * 1000);
  });
  head.append(element("span", "", language), button);
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  pre.dir = "ltr";
  frame.append(head, pre);
}

function element(name, className, text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text });
}
