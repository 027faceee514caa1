// Names that no other tab gives; crypto.randomUUID is not there on a page without TLS.

export function newId() {
  const random = crypto.getRandomValues(new Uint32Array(2));
  return Date.now().toString(36) + [...random].map((part) => part.toString(36).padStart(7, "0")).join("");
}
