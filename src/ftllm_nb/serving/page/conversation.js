// What was asked and answered, kept in this tab: a reload does not lose it, and another tab has its own.

const KEY = "conversation";

/** exchanges: [{question, answer, inside, error, stopped, running, counts}]; `error` is a sentence. */
export class Conversation {
  constructor() {
    this.exchanges = [];
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
      if (Array.isArray(kept)) this.exchanges = kept.filter((exchange) => typeof exchange?.question === "string");
    } catch {
      // What another version kept, or storage that the browser forbids.
    }
    for (const exchange of this.exchanges) {
      exchange.stopped ||= exchange.running;
      exchange.running = false;
    }
  }

  get last() {
    return this.exchanges.at(-1);
  }

  /** Append a question; its answer is still to come, and begins inside of a thinking block or not. */
  ask(question, inside) {
    this.exchanges.push({ question, answer: "", inside, error: "", stopped: false, running: true, counts: null });
    return this.last;
  }

  /** Take back the exchange at `index` and all after it; the question, or "" where there was none. */
  takeBack(index) {
    return this.exchanges.splice(index)[0]?.question ?? "";
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

  keep() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.exchanges));
    } catch {
      // Full or forbidden: the conversation goes on, and a reload loses it.
    }
  }
}
