// A block of code with its language, a button that copies it, and colours for what most languages share.

import { element } from "./inline.js";
import { copyButton } from "./copy.js";

const WORDS = new Set(
  `abstract and as assert async await begin bool boolean break case catch char class const continue def default del delete
  do double elif else end enum except export extends false False final finally float fn for from func function global goto
  if impl implements import in instanceof int interface is lambda let long loop match mod module mut namespace new nil None
  nonlocal not null operator or package pass private protected pub public raise return self short static string struct super
  switch template then this throw throws trait true True try type typedef typeof undefined union unsigned use using var
  virtual void volatile where while with yield select insert update create table group order by limit join
  SELECT FROM WHERE INSERT UPDATE DELETE CREATE TABLE GROUP ORDER BY LIMIT JOIN AND OR NOT NULL`.split(/\s+/),
);
const HASH_COMMENTS = /^(py|python|python3|sh|bash|shell|zsh|console|rb|ruby|ya?ml|toml|ini|make|makefile|dockerfile|r|perl)$/i;
const DASH_COMMENTS = /^(sql|lua|haskell|hs|ada)$/i;
const NO_LANGUAGE = /^(text|txt|plain|plaintext|markdown|md|output|csv)?$/i;
const MOST_CHARACTERS = 50_000; // longer code stays plain, so that a page does not stall

/** A figure that shows `code`; `language` is the word after the fence. */
export function codeBlock(code, language) {
  const label = element("figcaption", [element("span", [language || "code"])]);
  const button = copyButton(() => code);
  if (button) label.append(button);
  const plain = NO_LANGUAGE.test(language) || code.length > MOST_CHARACTERS;
  const shown = element("code", plain ? [code] : coloured(code, language));
  return element("figure", [label, element("pre", [shown])], "code");
}

function coloured(code, language) {
  const comment = HASH_COMMENTS.test(language) ? "#[^\\n]*" : DASH_COMMENTS.test(language) ? "--[^\\n]*" : "//[^\\n]*|/\\*[^]*?(?:\\*/|$)";
  const token = new RegExp(
    `(?<comment>${comment})|(?<string>"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:[^"\\\\\\n]|\\\\.)*"?|'(?:[^'\\\\\\n]|\\\\.)*'?)` +
      `|(?<number>\\b\\d[\\w.]*)|(?<word>[A-Za-z_$][\\w$]*)`,
    "g",
  );
  const parts = [];
  let end = 0;
  for (const match of code.matchAll(token)) {
    const { comment: isComment, string, number, word } = match.groups;
    const kind = isComment ? "comment" : string ? "string" : number ? "number" : WORDS.has(word) ? "keyword" : "";
    if (!kind) continue;
    parts.push(code.slice(end, match.index), element("span", [match[0]], kind));
    end = match.index + match[0].length;
  }
  return [...parts, code.slice(end)];
}
