// Makes a field as high as its text; the style sheet says how high at most.

export function fitted(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
}
