// An answer that grows: from the chunks of the API's stream to the message that is shown.
import { splitThought } from "../text/thought.js";

export class Growing {
  constructor(message, about) {
    this.message = message;
    this.context = about?.context;
    this.raw = message.text;
    this.hasReasoning = Boolean(message.thinking);
    this.began = performance.now();
    this.first = null;
    this.reason = null;
  }

  // The message after one more chunk.
  hear(chunk) {
    const choice = chunk.choices?.[0];
    const changes = {};
    const delta = choice?.delta ?? {};
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (thought) {
      this.hasReasoning = true;
      changes.thinking = this.message.thinking + thought;
    }
    if (delta.content) {
      this.raw += delta.content;
      Object.assign(changes, this.hasReasoning ? { text: this.raw } : splitThought(this.raw));
    }
    if (delta.tool_calls) changes.calls = withCalls(this.message.calls, delta.tool_calls);
    if (choice?.finish_reason) this.reason = choice.stop_reason === "repetition" ? "repetition" : choice.finish_reason;
    const counts = this.counted(chunk);
    if (counts) changes.counts = counts;
    this.noteThinking(changes);
    this.message = { ...this.message, ...changes };
    return this.message;
  }

  noteThinking(changes) {
    const thinking = changes.thinking ?? this.message.thinking;
    const text = changes.text ?? this.message.text;
    if (thinking && !text && !this.message.text) changes.thoughtMs = performance.now() - this.began;
  }

  counted({ usage, timings }) {
    if (!usage?.completion_tokens) return null;
    this.first ??= performance.now();
    const seconds = (performance.now() - this.first) / 1000;
    return {
      answer: usage.completion_tokens,
      prompt: usage.prompt_tokens,
      known: usage.prompt_tokens_details?.cached_tokens ?? 0,
      perSecond: timings?.predicted_per_second ?? (seconds > 0 ? (usage.completion_tokens - 1) / seconds : 0),
      promptMs: timings?.prompt_ms ?? null,
      context: this.context,
    };
  }

  ended(status = ["length", "repetition"].includes(this.reason) ? this.reason : "done") {
    return { ...this.message, status };
  }

  failed(error) {
    return { ...this.message, status: "failed", error: { kind: error.kind ?? "page", message: error.message } };
  }
}

// Calls come in pieces: arguments are appended to those of the same index.
function withCalls(calls, pieces) {
  const grown = [...calls];
  for (const piece of pieces) {
    const index = piece.index ?? grown.length;
    const before = grown[index] ?? { name: "", arguments: "" };
    grown[index] = {
      name: before.name + (piece.function?.name ?? ""),
      arguments: before.arguments + (piece.function?.arguments ?? ""),
    };
  }
  return grown;
}
