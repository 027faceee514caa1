import assert from "node:assert/strict";
import test from "node:test";
import { askedMessages, questionText } from "../../../../src/ftllm_nb/serving/page/web/state/asked.js";
import { choosing, pathThrough } from "../../../../src/ftllm_nb/serving/page/web/state/tree.js";

let clock = 0;
const message = (id, parent, more = {}) => ({ id, parent, role: id.startsWith("q") ? "user" : "assistant", text: id, created: clock++, ...more });
const tree = (...messages) => new Map(messages.map((each) => [each.id, each]));
const shown = (messages, chosen) => pathThrough(messages, chosen).map((place) => place.message.id).join(" ");

test("the newest version is shown, or the one that was chosen", () => {
  const messages = tree(message("q1", null), message("a1", "q1"), message("a2", "q1"), message("q2", "a1"), message("q3", null));
  assert.equal(shown(messages), "q3");
  const chosen = choosing(messages, {}, messages.get("q1"));
  assert.equal(shown(messages, chosen), "q1 a2");
  assert.equal(shown(messages, choosing(messages, chosen, messages.get("a1"))), "q1 a1 q2");
  assert.deepEqual(pathThrough(messages, chosen)[1].versions, ["a1", "a2"]);
  assert.equal(shown(messages, { top: "gone" }), "q3");
});

test("a deleted turn leaves what was said below it", () => {
  const messages = tree(message("q1", null, { deleted: true }), message("a1", "q1", { deleted: true }), message("q2", "a1"), message("a2", "q2"));
  assert.equal(shown(messages), "q2 a2");
  assert.equal(shown(tree(message("q1", "never there"))), "q1");
  assert.deepEqual(choosing(messages, {}, messages.get("q2")), { top: "q2" });
});

test("the model is told turns alone", () => {
  const failed = { status: "failed", text: "" };
  const path = pathThrough(tree(
    message("q1", null), message("a1", "q1", failed), message("q2", "a1"), message("a2", "q2", { thinking: "hm" }),
    message("q3", "a2"), message("a3", "q3", { status: "failed", text: "half" }), message("q4", "a3"),
  ));
  const told = (...more) => askedMessages(path, ...more).map(({ role, content }) => `${role[0]}:${content}`).join(" ");
  assert.equal(told(), "u:q2 a:a2 u:q3 a:half u:q4");
  assert.equal(told("  "), "u:q2 a:a2 u:q3 a:half u:q4");
  assert.equal(told("Be brief.", "q3"), "s:Be brief. u:q3 a:half u:q4");
  assert.equal(told("", "not on the path"), told());
});

test("a file stands in a fence that is longer than its own", () => {
  assert.equal(questionText({ text: "?", files: [{ name: "a.py", text: "x = '````'" }] }), "a.py:\n`````py\nx = '````'\n`````\n\n?");
  assert.equal(questionText({ text: "", files: [{ name: "b", text: "y\n" }] }), "b:\n```\ny\n```");
});
