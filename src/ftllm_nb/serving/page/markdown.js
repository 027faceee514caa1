// Markdown as DOM nodes, while it is still being written: blocks whose source stays the same stay the same elements.
// CommonMark with tables, without indented code and underlined headings, which chats use by accident. HTML is text.

import { codeBlock } from "./code.js";
import { element, inline } from "./inline.js";

const DEEPEST = 12; // lists and quotes in one another; what is deeper is text

/** Make `container` show the text; blocks that it shows already are left alone. */
export function showMarkdown(container, text) {
  const blocks = parse(text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n"), 0);
  const shown = [...container.children];
  let same = 0;
  while (same < blocks.length && shown[same]?.source === blocks[same].source) same += 1;
  for (const old of shown.slice(same)) old.remove();
  for (const block of blocks.slice(same)) {
    const made = block.make();
    made.source = block.source;
    container.append(made);
  }
}

const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,}) *(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: +(.*?))?(?: +#+)? *$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +(?=\S)| *$)/;
const DIVIDER = /^ {0,3}\|?(?: *:?-+:? *\|)* *:?-+:? *\|? *$/;

// [{source, make, apart}]; `apart`: an empty line is between it and the block before it
function parse(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const apart = blocks.length > 0 && !lines[at - 1].trim();
    const nested = depth < DEEPEST;
    const read =
      fence(lines, at) ??
      heading(lines, at) ??
      rule(lines, at) ??
      (nested ? quote(lines, at, depth) ?? list(lines, at, depth) : null) ??
      table(lines, at) ??
      paragraph(lines, at, nested);
    blocks.push({ source: lines.slice(at, read.end).join("\n"), make: read.make, apart });
    at = read.end;
  }
  return blocks;
}

function fence(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (!open) return null;
  const [, indent, mark, words] = open;
  const close = new RegExp(`^ {0,3}${mark[0]}{${mark.length},} *$`);
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end])) end += 1;
  const code = lines.slice(at + 1, end).map((line) => line.replace(new RegExp(`^ {0,${indent.length}}`), ""));
  return { end: Math.min(end + 1, lines.length), make: () => codeBlock(code.join("\n"), words.split(/\s/)[0]) };
}

function heading(lines, at) {
  const match = HEADING.exec(lines[at]);
  return match && { end: at + 1, make: () => element(`h${match[1].length}`, inline(match[2] ?? "")) };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { end: at + 1, make: () => element("hr") } : null;
}

function quote(lines, at, depth) {
  if (!QUOTE.test(lines[at])) return null;
  const inside = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    if (QUOTE.test(lines[end])) inside.push(lines[end].replace(QUOTE, ""));
    else if (isContinuation(lines[end]) && inside.at(-1).trim()) inside.push(lines[end]);
    else break;
  }
  return { end, make: () => element("blockquote", parse(inside, depth + 1).map((block) => block.make())) };
}

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const kind = first[2].at(-1);
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    const match = ITEM.exec(lines[end]);
    if (!match || match[2].at(-1) !== kind || RULE.test(lines[end])) break;
    const item = listItem(lines, end, match);
    const task = /^\[([ xX])\] +(?=\S)/.exec(item.lines[0]);
    if (task) item.lines[0] = item.lines[0].slice(task[0].length);
    const blocks = parse(item.lines, depth + 1);
    items.push({ blocks, done: task && task[1] !== " " });
    loose ||= blocks.some((block) => block.apart);
    let next = item.end;
    while (next < lines.length && !lines[next].trim()) next += 1;
    const another = next < lines.length && ITEM.exec(lines[next]);
    if (!another || another[2].at(-1) !== kind) {
      end = item.end;
      break;
    }
    loose ||= next > item.end;
    end = next;
  }
  const make = () => {
    const made = element(/\d/.test(first[2]) ? "ol" : "ul", items.map((item) => itemElement(item, loose)));
    if (made.localName === "ol") made.start = parseInt(first[2], 10);
    return made;
  };
  return { end, make };
}

// The lines of one item, without its indent, up to the first that does not belong to it.
function listItem(lines, at, match) {
  const spaces = match[3].length > 4 || !match[3] || !lines[at].slice(match[0].length).trim() ? 1 : match[3].length;
  const indent = match[1].length + match[2].length + spaces;
  const inside = [lines[at].slice(indent)];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (!line.trim()) {
      if (end === at + 1 && !inside[0].trim()) break;
      inside.push("");
    } else if (line.search(/\S/) >= indent) inside.push(line.slice(indent));
    else if (inside.at(-1).trim() && isContinuation(line)) inside.push(line.trimStart());
    else break;
  }
  while (inside.length > 1 && !inside.at(-1)) {
    inside.pop();
    end -= 1;
  }
  return { lines: inside, end };
}

// `done`: whether the box before it is ticked; null where there is none
function itemElement({ blocks, done }, loose) {
  const made = element("li");
  for (const block of blocks) {
    const child = block.make();
    if (!loose && child.localName === "p") made.append(...child.childNodes);
    else made.append(child);
  }
  if (done !== null) {
    const box = element("input");
    box.type = "checkbox";
    box.disabled = true;
    box.checked = done;
    made.prepend(box, " ");
    made.className = "task";
  }
  return made;
}

function table(lines, at) {
  if (at + 1 >= lines.length || !lines[at].includes("|") || !DIVIDER.test(lines[at + 1])) return null;
  const heads = cells(lines[at]);
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell[0] === ":" ? "center" : "right") : ""));
  if (heads.length !== sides.length) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].trim() && !beginsBlock(lines[end])) end += 1;
  const row = (name, line) => {
    const texts = cells(line);
    return element("tr", sides.map((side, column) => element(name, inline(texts[column] ?? ""), side)));
  };
  const make = () => {
    const body = lines.slice(at + 2, end).map((line) => row("td", line));
    const made = element("table", [element("thead", [row("th", lines[at])]), element("tbody", body)]);
    return element("div", [made], "table");
  };
  return { end, make };
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(lines, at, nested) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !(beginsBlock(lines[end], nested) || table(lines, end))) end += 1;
  const text = lines.slice(at, end).map((line) => line.trimStart()).join("\n").trimEnd();
  return { end, make: () => element("p", inline(text)) };
}

// A line outside of a list's item or a quote that still belongs to the paragraph at its end.
function isContinuation(line) {
  return Boolean(line.trim()) && !beginsBlock(line) && !ITEM.test(line);
}

// Whether a line ends the paragraph before it.
function beginsBlock(line, nested = true) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line)) return true;
  if (!nested) return false;
  const item = ITEM.exec(line);
  // Only a list from 1, and with text: a year at a line's beginning is none.
  return QUOTE.test(line) || Boolean(item && line.trim() !== item[2] && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1));
}
