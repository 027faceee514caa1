// Markdown within a line, as DOM nodes: code, emphasis, links. CommonMark's rules; HTML is text, images are links.

const PUNCTUATION = /[!-/:-@[-`{-~]/;
const SPACE = /\s/;
const LETTERS = /[^\s\p{P}\p{S}]/u;
const MOST_DELIMITERS = 2000; // beyond that, text is text: what follows is quadratic in it

/** Nodes for a text without block structure. */
export function inline(text) {
  const pieces = scan(text);
  emphasize(pieces);
  return pieces.map((piece) => piece.node ?? document.createTextNode(piece.text)).filter((node) => node.nodeType !== 3 || node.data);
}

/** An element with children, which may be texts. */
export function element(name, children = [], className = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** The address if it leads to the web or to mail, else null. */
export function safeAddress(text) {
  try {
    const address = new URL(text);
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

// [{text} | {node} | {text, mark, canOpen, canClose}], where the last are runs of *, _ or ~
function scan(text) {
  const pieces = [];
  const missing = new Set(); // lengths of backtick runs that nothing closes
  let plain = "";
  let delimiters = 0;
  let at = 0;
  const flush = () => {
    if (plain) pieces.push({ text: plain });
    plain = "";
  };
  const push = (piece, end) => {
    flush();
    pieces.push(piece);
    at = end;
  };
  while (at < text.length) {
    const character = text[at];
    const rest = () => text.slice(at, at + 2048);
    let match;
    if (character === "\\" && at + 1 < text.length && PUNCTUATION.test(text[at + 1])) {
      plain += text[at + 1];
      at += 2;
    } else if (character === "`") {
      const length = runLength(text, at);
      const end = missing.has(length) ? -1 : closingRun(text, at + length, length);
      if (end < 0) {
        missing.add(length);
        plain += text.slice(at, at + length);
        at += length;
      } else {
        push({ node: element("code", [codeText(text.slice(at + length, end))]) }, end + length);
      }
    } else if ((character === "[" || (character === "!" && text[at + 1] === "[")) && (match = LINK.exec(rest()))) {
      const address = safeAddress(unescaped(match[2] ?? match[3]));
      if (address) {
        const label = character === "!" ? [match[1] || address] : inline(match[1]);
        push({ node: link(address, label) }, at + match[0].length);
      } else {
        plain += match[0];
        at += match[0].length;
      }
    } else if (character === "<" && (match = /^<([a-z][a-z\d+.-]+:[^\s<>]*)>/i.exec(rest())) && safeAddress(match[1])) {
      push({ node: link(safeAddress(match[1]), [match[1]]) }, at + match[0].length);
    } else if (character === "h" && !LETTERS.test(text[at - 1] ?? " ") && (match = /^https?:\/\/[^\s<>"`]+/.exec(rest()))) {
      const found = match[0].replace(/[.,:;!?'*_~)\]]+$/, (tail) => (tail.startsWith(")") && match[0].includes("(") ? ")" : ""));
      const address = safeAddress(found);
      if (address) {
        push({ node: link(address, [found]) }, at + found.length);
      } else {
        plain += character;
        at += 1;
      }
    } else if (character === "&" && (match = /^&(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[\da-f]{1,6});/i.exec(rest()))) {
      plain += entity(match[1]);
      at += match[0].length;
    } else if ("*_~".includes(character) && delimiters < MOST_DELIMITERS) {
      const length = runLength(text, at);
      delimiters += 1;
      push(delimiter(text, at, length), at + length);
    } else if (character === "\n") {
      const hard = plain.endsWith("\\");
      plain = hard ? plain.slice(0, -1) : plain.replace(/ +$/, "");
      plain += "\n"; // shown as a line break, as people expect of a chat
      at += 1;
      while (text[at] === " ") at += 1;
    } else {
      plain += character;
      at += 1;
    }
  }
  flush();
  return pieces;
}

// [label](address "title"); brackets and parentheses within, one level deep
const LINK = /^!?\[((?:[^[\]\\]|\\.|\[[^[\]]*\])*)\]\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))+))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/;

function runLength(text, at) {
  let end = at;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

function closingRun(text, at, length) {
  while ((at = text.indexOf("`", at)) >= 0) {
    const found = runLength(text, at);
    if (found === length) return at;
    at += found;
  }
  return -1;
}

function codeText(text) {
  const line = text.replaceAll("\n", " ");
  return /^ .*[^ ].* $/.test(line) || /^ [^ ] $/.test(line) ? line.slice(1, -1) : line;
}

function unescaped(text) {
  return text.replace(/\\([!-/:-@[-`{-~])/g, "$1");
}

function entity(name) {
  const named = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" }[name.toLowerCase()];
  if (named) return named;
  const code = name[1].toLowerCase() === "x" ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
  return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : "\ufffd";
}

function link(address, children) {
  const made = element("a", children);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer nofollow";
  return made;
}

// Whether a run may open or close emphasis: CommonMark's left- and right-flanking.
function delimiter(text, at, length) {
  const mark = text[at];
  const before = text[at - 1] ?? " ";
  const after = text[at + length] ?? " ";
  const left = !SPACE.test(after) && (LETTERS.test(after) || !LETTERS.test(before));
  const right = !SPACE.test(before) && (LETTERS.test(before) || !LETTERS.test(after));
  const canOpen = mark === "_" ? left && (!right || !LETTERS.test(before)) : left;
  const canClose = mark === "_" ? right && (!left || !LETTERS.test(after)) : right;
  return { text: mark.repeat(length), mark, length, canOpen, canClose };
}

// CommonMark's pass over the delimiters: each closer takes the nearest opener that fits.
function emphasize(pieces) {
  for (let closer = 0; closer < pieces.length; closer += 1) {
    while (pieces[closer]?.mark && pieces[closer].canClose && pieces[closer].text) {
      const opener = openerFor(pieces, closer);
      if (opener < 0) break;
      const mark = pieces[closer].mark;
      const width = mark === "~" ? pieces[closer].text.length : Math.min(2, pieces[closer].text.length, pieces[opener].text.length);
      const inside = pieces.splice(opener + 1, closer - opener - 1);
      const children = inside.map((piece) => piece.node ?? piece.text);
      const name = mark === "~" ? "del" : width === 2 ? "strong" : "em";
      pieces[opener].text = pieces[opener].text.slice(width);
      pieces.splice(opener + 1, 0, { node: element(name, children) });
      closer = opener + 2;
      pieces[closer].text = pieces[closer].text.slice(width);
    }
  }
}

function openerFor(pieces, closer) {
  const end = pieces[closer];
  for (let at = closer - 1; at >= 0; at -= 1) {
    const start = pieces[at];
    if (start.mark !== end.mark || !start.canOpen || !start.text) continue;
    if (end.mark === "~") {
      if (start.text.length === end.text.length && end.text.length <= 2) return at;
      continue;
    }
    // The rule of three: a run that may do both does not pair with one where the lengths add up to a multiple.
    const both = start.canClose || end.canOpen;
    if (both && (start.length + end.length) % 3 === 0 && (start.length % 3 || end.length % 3)) continue;
    return at;
  }
  return -1;
}
