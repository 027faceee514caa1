import assert from "node:assert/strict";
import test from "node:test";
import { eventData } from "../../../../src/ftllm_nb/serving/page/web/api/events.js";
import { failureOf } from "../../../../src/ftllm_nb/serving/page/web/api/failure.js";
import { Growing } from "../../../../src/ftllm_nb/serving/page/web/state/growing.js";
import { splitThought } from "../../../../src/ftllm_nb/serving/page/web/text/thought.js";

const EMPTY = { text: "", thinking: "", calls: [], status: "streaming" };

async function read(bytes, size) {
  const found = [];
  const parts = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.slice(at, at + size));
  for await (const data of eventData(ReadableStream.from(parts))) found.push(data);
  return found;
}

test("events are read however they are cut", async () => {
  const bytes = new TextEncoder().encode('data: {"a": "é漢"}\n\n: ping\n\ndata: one\r\ndata: two\r\n\r\ndata: [DONE]\n\ndata: half');
  for (const size of [1, 2, 3, 7, 1000]) assert.deepEqual(await read(bytes, size), ['{"a": "é漢"}', "one\ntwo", "[DONE]"]);
});

test("thoughts stand before the answer", () => {
  assert.deepEqual(splitThought("  plain "), { thinking: "", text: "  plain " });
  assert.deepEqual(splitThought("<thi"), { thinking: "", text: "" });
  assert.deepEqual(splitThought("<think>\nhm\n</think>\n\nYes."), { thinking: "hm", text: "Yes." });
  assert.deepEqual(splitThought("<think>hm"), { thinking: "hm", text: "" });
  assert.deepEqual(splitThought("not <think>x</think>"), { thinking: "", text: "not <think>x</think>" });
});

test("an answer grows by what comes", () => {
  const growing = new Growing(EMPTY, { context: 100 });
  const hear = (delta, more = {}) => growing.hear({ choices: [{ delta, ...more }] });
  hear({ role: "assistant", content: "" });
  hear({ reasoning_content: "hm" });
  assert.equal(hear({ content: "<think> is text here" }).text, "<think> is text here");
  assert.equal(growing.message.thinking, "hm");
  hear({ tool_calls: [{ index: 0, function: { name: "f", arguments: "{" } }] });
  hear({ tool_calls: [{ index: 0, function: { arguments: "}" } }] });
  assert.deepEqual(growing.message.calls, [{ name: "f", arguments: "{}" }]);
  growing.hear({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 3 }, timings: { predicted_per_second: 7, prompt_ms: 2 } });
  assert.deepEqual(growing.message.counts, { answer: 3, prompt: 5, known: 0, perSecond: 7, promptMs: 2, context: 100 });
  hear({}, { finish_reason: "length" });
  assert.equal(growing.ended().status, "length");
  assert.equal(growing.ended("stopped").status, "stopped");
  hear({}, { finish_reason: "stop", stop_reason: "repetition" });
  assert.equal(growing.ended().status, "repetition");
  assert.deepEqual(growing.failed(Object.assign(new Error("no"), { kind: "busy" })).error, { kind: "busy", message: "no" });
});

test("a failure has a kind and a sentence", () => {
  const of = (status, code, message = "it is so.") => failureOf(status, { error: { code, message } });
  assert.equal(of(400, "context_length_exceeded").kind, "overflow");
  assert.equal(of(401, "invalid_api_key").kind, "key");
  assert.equal(of(503, "loading").kind, "loading");
  assert.equal(of(429, null).kind, "busy");
  assert.equal(of(200, "internal_error").kind, "server");
  assert.equal(of(400, null).kind, "request");
  assert.equal(of(400, null).message, "It is so.");
  assert.equal(failureOf(502, null).kind, "connection");
});
