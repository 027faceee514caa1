// What was asked and answered, kept in this tab: a reload does not lose it, and another tab has its own.

const KEY = "conversation";

/** exchanges: [{question, answer, inside, replaced, error, stopped, running, counts}]; `error` is a sentence. */
export class Conversation {
  constructor() {
    this.exchanges = [];
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
      if (Array.isArray(kept)) this.exchanges = kept.filter((one) => isText(one?.question) && isText(one?.answer));
    } catch {
      // What another version kept, or storage that the browser forbids.
    }
    for (const exchange of this.exchanges) {
      exchange.stopped ||= exchange.running;
      exchange.running = false;
      exchange.replaced ??= [];
    }
  }

  get last() {
    return this.exchanges.at(-1);
  }

  /** Ask in place of the exchange at `index` and all after it; the answer begins inside of a thinking block or not. */
  ask(question, index, inside) {
    const replaced = this.exchanges.splice(index).flatMap((taken) => (failed(taken) ? taken.replaced : [taken]));
    this.exchanges.push({ question, answer: "", inside, replaced, error: "", stopped: false, running: true, counts: null });
    return this.last;
  }

  /** Take back the last exchange; its question. One that failed gives back what it was to replace. */
  undo() {
    const { question, replaced } = this.exchanges.pop();
    this.exchanges.push(...replaced);
    return question;
  }

  forget() {
    this.exchanges = [];
    this.keep();
  }

  /** The messages that ask the last question. Questions that got no answer are left out: templates want turns. */
  messages(system) {
    const messages = system.trim() ? [{ role: "system", content: system }] : [];
    for (const exchange of this.exchanges) {
      if (exchange !== this.last && !exchange.answer) continue;
      messages.push({ role: "user", content: exchange.question });
      if (exchange !== this.last) messages.push({ role: "assistant", content: exchange.answer });
    }
    return messages;
  }

  /** The last answer has ended: what it replaced is given up, unless nothing came in its place. */
  end() {
    if (this.last && !failed(this.last)) this.last.replaced = [];
    this.keep();
  }

  keep() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.exchanges));
    } catch {
      // Full or forbidden: the conversation goes on, and a reload loses it.
    }
  }
}

function isText(value) {
  return typeof value === "string";
}

function failed(exchange) {
  return Boolean(exchange.error) && !exchange.answer;
}
