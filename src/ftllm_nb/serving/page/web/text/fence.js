// A text as a fenced block of Markdown: the fence is longer than any that the text holds.

export function inFence(text, name = "") {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((match) => match[0].length));
  const fence = "`".repeat(longest + 1);
  const extension = /\.(\w{1,10})$/.exec(name)?.[1] ?? "";
  return `${fence}${extension}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}
