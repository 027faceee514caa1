// The blocks of a text that grows at its end: those that are settled are not read again, so that an update costs as much
// as the last blocks are long.
import { blocksOf, lexed } from "./markdown.js";

const OPEN = 2; // blocks at the end that more text may still change

export class GrowingBlocks {
  #settled = "";
  #blocks = [];

  // `isWhole`: nothing more will come. Then all of it is read once more, since a link may be defined at the end.
  of(text, isWhole) {
    if (isWhole) return blocksOf(text);
    if (!text.startsWith(this.#settled)) {
      this.#settled = "";
      this.#blocks = [];
    }
    const rest = lexed(text.slice(this.#settled.length));
    this.#settle(text, rest);
    return [...this.#blocks, ...rest].filter((block) => block.type !== "space" && block.type !== "def");
  }

  // Moves what stands before the last empty lines to the settled ones.
  #settle(text, rest) {
    for (let last = rest.length - OPEN; last > 0; last -= 1) {
      if (rest[last - 1].type !== "space") continue;
      const raw = rest.slice(0, last).map((block) => block.raw).join("");
      if (!text.startsWith(raw, this.#settled.length)) return; // other ends of lines
      this.#settled += raw;
      this.#blocks.push(...rest.splice(0, last));
      return;
    }
  }
}
