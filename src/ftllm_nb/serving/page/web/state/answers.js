// Questions and their answers: asked, stopped, asked again.
import { chatChunks } from "../api/client.js";
import { watchServer } from "./about.js";
import { addMessage, begun, saveMessage, shownPath, showMessage } from "./conversations.js";
import { Growing } from "./growing.js";
import { newId } from "./ids.js";
import { askedMessages } from "./asked.js";
import { firstComplaint, requestFields } from "./settings.js";
import { change, state } from "./store.js";

const SHOW = 50; // milliseconds between two pictures of a growing answer
const KEEP = 700; // and between two times that it is written to the storage

export const runOf = (conversation) => (conversation ? state.running.get(conversation.id) : undefined);

// Ask something at the end of the conversation that is shown.
export async function send(text, files) {
  if (runOf(state.current)) return;
  const conversation = await begun(text || files[0]?.name || "");
  const parent = shownPath().at(-1)?.message.id ?? null;
  await ask({ conversation: conversation.id, parent, text, files });
}

// Ask a question in other words: another version of it, with answers of its own.
export async function askEdited(question, text) {
  await ask({ conversation: question.conversation, parent: question.parent, text, files: question.files });
}

async function ask(question) {
  const message = { id: newId(), role: "user", created: Date.now(), ...question };
  await addMessage(message);
  await answer(message);
}

// Another version of an answer; of one that failed before it began nothing is left.
export async function retry(message) {
  if (message.status === "failed" && !message.text) await saveMessage({ ...message, deleted: true });
  await answer(state.messages.get(message.parent));
}

// Go on where an answer was cut off.
export const goOn = (message) => answer(state.messages.get(message.parent), message);

export function stop(conversation = state.current) {
  runOf(conversation)?.stop();
}

async function answer(question, begunAnswer = null) {
  const conversation = state.current;
  if (runOf(conversation)) return;
  const created = { id: newId(), conversation: conversation.id, parent: question.id, role: "assistant", created: Date.now() };
  const first = { text: "", thinking: "", calls: [], ...(begunAnswer ?? created), model: state.about?.model, status: "streaming", error: null };
  const body = requestBody(question, begunAnswer);
  const run = new Run(first, body);
  change({ running: new Map(state.running).set(conversation.id, run) });
  await (begunAnswer ? saveMessage(first) : addMessage(first));
  await run.made();
}

function requestBody(question, begunAnswer) {
  const path = shownPath();
  const end = path.findIndex(({ message }) => message.id === question.id);
  const asked = askedMessages(path.slice(0, end + 1), state.settings.system, state.current.from);
  const body = {
    messages: asked,
    stream_options: { include_usage: true, continuous_usage_stats: true },
    ...requestFields(state.settings, state.about),
  };
  if (!begunAnswer) return body;
  return { ...body, messages: [...asked, begunMessage(begunAnswer)], continue_final_message: true };
}

const begunMessage = ({ text, thinking }) => ({ role: "assistant", content: text, ...(thinking && { reasoning_content: thinking }) });

// One answer while it is made.
class Run {
  constructor(message, body) {
    this.message = message;
    this.body = body;
    this.controller = new AbortController();
    this.isAbandoned = false;
    this.timers = {};
  }

  stop() {
    this.controller.abort();
  }

  // Nobody wants it any more, its conversation is gone.
  abandon() {
    this.isAbandoned = true;
    this.stop();
  }

  async made() {
    const growing = new Growing(this.message, state.about);
    try {
      const wrong = firstComplaint(state.settings);
      if (wrong) throw Object.assign(new Error(wrong), { kind: "setting" });
      for await (const chunk of chatChunks(this.body, this.controller.signal)) {
        this.message = growing.hear(chunk);
        this.later("show", SHOW, () => showMessage(this.message));
        this.later("keep", KEEP, () => saveMessage(this.message));
      }
      this.message = growing.ended();
    } catch (error) {
      this.message = error.name === "AbortError" ? growing.ended("stopped") : growing.failed(error);
      // It may have ended, and may come back with another model.
      if (["connection", "loading", "closing"].includes(error.kind)) watchServer();
    }
    Object.values(this.timers).forEach(clearTimeout);
    const running = new Map(state.running);
    running.delete(this.message.conversation);
    change({ running });
    if (!this.isAbandoned) await saveMessage(this.message);
  }

  later(name, milliseconds, act) {
    if (this.isAbandoned) return;
    this.timers[name] ??= setTimeout(() => {
      this.timers[name] = undefined;
      act();
    }, milliseconds);
  }

  // At the last moment, when the tab is closed or reloaded.
  keepNow() {
    if (!this.isAbandoned) saveMessage(this.message);
  }
}

addEventListener("pagehide", () => state.running.forEach((run) => run.keepNow()));
