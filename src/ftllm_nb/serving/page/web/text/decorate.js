// What elements of an answer become beyond HTML: coloured code, formulas, tables that scroll, links that leave the page.
import { cleanedColours } from "./clean.js";
import { codeFrame } from "./code_frame.js";
import { sourceOf } from "./formulas.js";
import { highlighter, katex } from "./late.js";

const LONGEST_COLOURED = 30_000; // characters

// `again` is called when a library has come that some of this needs.
export function decorate(root, again) {
  for (const link of root.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const table of root.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "table";
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of root.querySelectorAll("pre > code")) {
    const language = /language-(\S+)/.exec(code.className)?.[1] ?? "";
    colour(code, code.textContent, language, again);
    codeFrame(code.parentElement, language);
  }
  for (const element of root.querySelectorAll("span.formula")) drawFormula(element, again);
}

// Fills an element with code in colours, as far as its language is known.
export function colour(element, text, language, again) {
  const library = language && text.length < LONGEST_COLOURED ? highlighter(again) : null;
  if (library?.getLanguage(language)) {
    element.replaceChildren(cleanedColours(library.highlight(text, { language, ignoreIllegals: true }).value));
  } else if (element.textContent !== text || element.firstElementChild) {
    element.textContent = text;
  }
}

// KaTeX writes some styles as attributes, which the page's policy refuses: they are set one by one in their place.
function drawn(tree) {
  const move = ({ attributes, children = [] }) => {
    if (attributes?.style) {
      attributes["data-style"] = attributes.style;
      delete attributes.style;
    }
    children.forEach(move);
  };
  move(tree);
  const element = tree.toNode();
  for (const styled of element.querySelectorAll("[data-style]")) {
    styled.style.cssText = styled.dataset.style;
    styled.removeAttribute("data-style");
  }
  return element;
}

function drawFormula(element, again) {
  const library = katex(again);
  if (!library) return;
  const written = element.textContent;
  const displayMode = element.classList.contains("display");
  try {
    const options = { displayMode, throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 500 };
    element.replaceChildren(drawn(library.__renderToDomTree(sourceOf(written), options)));
  } catch {
    // Half of a formula, or none: it stays as it was written.
    element.textContent = written;
    element.classList.add("as-written");
  }
}
