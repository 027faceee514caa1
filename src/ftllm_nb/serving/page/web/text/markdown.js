// Markdown of answers: into blocks, and each block into HTML. Of HTML in an answer only plain marks of text are taken
// as such; everything else is shown as it was written. What comes from here is cleaned again by text/clean.js.
import { Marked } from "../vendor/marked.esm.js";
import { formulas } from "./formulas.js";

const PLAIN_MARK = /^<\/?(?:b|br|del|em|i|ins|kbd|mark|s|small|strong|sub|sup|u)\s*\/?>$/i;

const escaped = (text) =>
  text.replace(/[&<>"]/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[mark]);

const renderer = {
  html({ text, block }) {
    const shown = text.split(/(<[^<>]*>)/).map((part) => (PLAIN_MARK.test(part) ? part : escaped(part))).join("");
    return block ? `<p class="as-written">${shown.trim()}</p>` : shown;
  },
  // Nothing is loaded from elsewhere: a picture is a link to itself.
  image({ href, text }) {
    return `<a href="${escaped(href)}" class="picture">${escaped(text || href)}</a>`;
  },
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
};

const marked = new Marked({ gfm: true, breaks: true, renderer }, formulas);

export const lexed = (text) => marked.lexer(text);

// The blocks of a text that are shown: paragraphs, lists, tables, code.
export const blocksOf = (text) => lexed(text).filter((block) => block.type !== "space" && block.type !== "def");

export const htmlOf = (block) => marked.parser([block]);
