// One question and its answer on the page.

import { copyButton } from "./copy.js";
import { element } from "./inline.js";
import { showMarkdown } from "./markdown.js";

/** `actions`: what the buttons do: edit(text), retry(), undo(). */
export class ExchangeView {
  constructor(exchange, actions) {
    this.exchange = exchange;
    this.actions = actions;
    this.question = element("div", [], "question");
    this.thought = element("details", [element("summary", ["Thinking"]), element("div", [], "markdown")], "thought");
    this.text = element("div", [], "markdown");
    this.error = element("p", [], "error");
    this.error.setAttribute("role", "alert");
    this.note = element("span", [], "note");
    this.copy = copyButton(() => exchange.answer);
    const buttons = [
      this.copy,
      action("Retry", "retry", () => actions.retry()),
      action("Undo", "undo", () => actions.undo()),
    ];
    const bar = element("div", [...buttons.filter(Boolean), this.note], "actions");
    this.answer = element("div", [this.thought, this.text, this.error, bar], "answer");
    this.element = element("article", [this.question, this.answer], "exchange");
    this.showQuestion();
    this.update();
  }

  /** Show what the exchange holds now. */
  update() {
    const { answer, inside, error, running, stopped } = this.exchange;
    const { thought, text } = thinking(inside ? `<think>${answer}` : answer);
    this.thought.hidden = !thought;
    if (thought) showMarkdown(this.thought.lastChild, thought);
    showMarkdown(this.text, text);
    if (this.copy) this.copy.hidden = !answer;
    this.error.textContent = error;
    this.error.hidden = !error;
    this.element.classList.toggle("running", running);
    this.element.classList.toggle("waiting", running && !answer);
    this.answer.setAttribute("aria-busy", running);
    this.note.textContent = stopped ? "Stopped" : (this.exchange.note ?? "");
  }

  showQuestion() {
    const text = element("div", [this.exchange.question], "text");
    this.question.replaceChildren(action("Edit", "edit", () => this.edit()), text);
  }

  edit() {
    const box = element("textarea");
    box.value = this.exchange.question;
    box.setAttribute("aria-label", "Edit the message");
    const send = () => box.value.trim() && this.actions.edit(box.value);
    const cancel = () => this.showQuestion();
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") cancel();
      else if (isSend(event)) send();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    box.rows = Math.min(12, box.value.split("\n").length + 1);
    const buttons = element("div", [action("Cancel", "cancel", cancel), action("Send", "resend", send)], "actions");
    this.question.replaceChildren(element("div", [box, buttons], "editing"));
    box.focus();
  }
}

/** Enter, but not with Shift, not on a touch keyboard, and not one that ends a word of an input method. */
export function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && !matchMedia("(pointer: coarse)").matches;
}

function action(label, name, run) {
  const button = element("button", [label], `plain ${name}`);
  button.type = "button";
  button.addEventListener("click", run);
  return button;
}

// What stands in <think> … </think> at an answer's beginning, and the rest.
function thinking(answer) {
  const match = /^\s*<think>([^]*?)(?:<\/think>|$)/.exec(answer);
  return match ? { thought: match[1].trim(), text: answer.slice(match[0].length) } : { thought: "", text: answer };
}
