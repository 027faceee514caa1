// Files that are attached: their text, or a sentence that says why they cannot be.

const MOST_BYTES = 2 << 20;

export async function readTextFile(file) {
  if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than 2 MB, which no context of a model here holds.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = decoded(bytes);
  if (text === null) throw new Error(`${file.name} is no text: only text files can be attached.`);
  return { name: file.name, text };
}

// UTF-8, or UTF-16 with its mark; null for what is neither.
export function decoded(bytes) {
  const mark = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  try {
    const text = new TextDecoder(mark, { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}
