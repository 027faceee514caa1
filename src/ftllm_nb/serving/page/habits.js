// What Gradio's page lacks: the message's field has the focus again after an answer, and Escape stops one.
new MutationObserver(() => {
  const field = document.querySelector("#question textarea");
  if (field && !field.disabled && document.activeElement === document.body && matchMedia("(pointer: fine)").matches) field.focus();
}).observe(document.documentElement, { subtree: true, childList: true, attributeFilter: ["disabled"] });
addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector("#question .stop-button")?.click();
});
// The form around the page is there for its name alone, see gate.py.
addEventListener("submit", (event) => event.preventDefault());
