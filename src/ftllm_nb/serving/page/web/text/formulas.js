// Formulas in Markdown, as extensions of marked: $$ … $$ and \[ … \] stand alone, $ … $ and \( … \) in a line.
// A single dollar opens a formula where pandoc thinks so, which leaves prices alone.

// What may stand between marks ends at the next mark, so that reading takes no longer than the text is long.
const BLOCK = /^ {0,3}(?:\$\$(?:(?!\$\$)[^])+\$\$|\\\[(?:(?!\\[[\]])[^])+\\\])[ \t]*(?:\n|$)/;
const DISPLAY = /^(?:\$\$(?:(?!\$\$)[^])+\$\$|\\\[(?:(?!\\[[\]])[^])+\\\])/;
const DOLLARS = /^\$(?![\s$])(?:\\[^]|[^$\\\n]|\n(?!\s*\n))*?(?:\\[^]|[^\s$\\])\$(?![\w$])/;
const PARENTHESES = /^\\\((?:(?!\\[()])[^])+\\\)/;
const BLOCK_INSIDE = new RegExp(`\\n${BLOCK.source.slice(1)}`);
const START = /\$|\\[([]/;

const blockFormula = {
  name: "blockFormula",
  level: "block",
  // marked asks where the paragraph at hand may end.
  start(text) {
    const end = text.indexOf("\n\n");
    return BLOCK_INSIDE.exec(end < 0 ? text : text.slice(0, end))?.index;
  },
  tokenizer(text) {
    const match = BLOCK.exec(text);
    return match ? token("blockFormula", match, true) : undefined;
  },
  renderer: rendered,
};

const inlineFormula = {
  name: "inlineFormula",
  level: "inline",
  start: (text) => text.match(START)?.index,
  tokenizer(text, tokens) {
    const display = DISPLAY.exec(text);
    if (display) return token("inlineFormula", display, true);
    const dollars = DOLLARS.exec(text);
    const isPrice = dollars !== null && /[\p{L}\p{N}]$/u.test(tokens.at(-1)?.raw ?? "");
    const match = isPrice ? null : (dollars ?? PARENTHESES.exec(text));
    return match ? token("inlineFormula", match, false) : undefined;
  },
  renderer: rendered,
};

function token(type, match, display) {
  return { type, raw: match[0], display };
}

// A place with the formula as it was written, which text/decorate.js draws.
function rendered({ raw, display }) {
  const source = raw.trim().replace(/[&<>]/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[mark]);
  return `<span class="${display ? "formula display" : "formula"}">${source}</span>`;
}

// A formula without its marks.
export const sourceOf = (written) => written.replace(/^(?:\$\$?|\\[([])|(?:\$\$?|\\[)\]])$/g, "").trim();

export const formulas = { extensions: [blockFormula, inlineFormula] };
