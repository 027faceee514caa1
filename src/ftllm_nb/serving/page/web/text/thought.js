// What a model thought before it answered, where the server leaves both in one text.
const OPEN = "<think>";
const CLOSE = "</think>";

export function splitThought(raw) {
  const text = raw.trimStart();
  if (!text.startsWith(OPEN)) return { thinking: "", text: OPEN.startsWith(text) ? "" : raw };
  const [thinking, ...rest] = text.slice(OPEN.length).split(CLOSE);
  return { thinking: thinking.trim(), text: rest.join(CLOSE).trimStart() };
}
