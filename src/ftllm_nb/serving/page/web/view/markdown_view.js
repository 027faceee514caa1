// Markdown as it grows: a block whose source is the same as before is left alone, with what is selected in it.
import { cleaned } from "../text/clean.js";
import { colour, decorate } from "../text/decorate.js";
import { GrowingBlocks } from "../text/growing_blocks.js";
import { htmlOf } from "../text/markdown.js";
import { html, remembered, useLayoutEffect, useReducer, useRef } from "./html.js";

export const Markdown = remembered(({ text, isWhole }) => {
  const blocks = useRef(null);
  blocks.current ??= new GrowingBlocks();
  return html`
    <div class="markdown">
      ${blocks.current.of(text, isWhole).map((block, index) => html`<${Block} key=${index} block=${block} />`)}
    </div>
  `;
});

const Block = remembered(DrawnBlock, (one, other) => one.raw === other.raw && one.type === other.type);

function DrawnBlock({ block }) {
  const root = useRef(null);
  const [, again] = useReducer((count) => count + 1, 0);
  useLayoutEffect(() => draw(root.current, block, again));
  return html`<div class="block" dir="auto" ref=${root}></div>`;
}

function draw(root, block, again) {
  const code = block.type === "code" && root.dataset.language === (block.lang ?? "") ? root.querySelector("pre > code") : null;
  if (code) {
    // Code that grows stays in its frame, where it may have been scrolled.
    colour(code, `${block.text}\n`, language(block), again);
    return;
  }
  root.replaceChildren(cleaned(htmlOf(block)));
  if (block.type === "code") root.dataset.language = block.lang ?? "";
  else delete root.dataset.language;
  decorate(root, again);
}

const language = (block) => /^\S*/.exec(block.lang ?? "")[0];
