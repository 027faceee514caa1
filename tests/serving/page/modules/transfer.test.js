import assert from "node:assert/strict";
import test from "node:test";
import { asMarkdown, fileName, fromJson } from "../../../../src/ftllm_nb/serving/page/web/state/transfer.js";
import { pathThrough } from "../../../../src/ftllm_nb/serving/page/web/state/tree.js";

const FORMAT = "ftllm-nb conversations 1";
const messages = [
  { id: "q", conversation: "c", parent: null, role: "user", text: "?", files: [{ name: "n", text: "t" }], created: 1 },
  { id: "a", conversation: "c", parent: "q", role: "assistant", text: "!", thinking: "hm", calls: [], created: 2, status: "streaming" },
];

test("what was exported comes back under new names", () => {
  const found = { format: FORMAT, conversations: [{ conversation: { id: "c", title: "T", created: 1, chosen: { top: "q", q: "a" }, from: "q" }, messages }] };
  const [first, second] = [0, 1].map(() => fromJson(JSON.stringify(found))[0]);
  assert.notEqual(first.conversation.id, second.conversation.id);
  assert.equal(first.conversation.title, "T");
  const path = pathThrough(new Map(first.messages.map((each) => [each.id, each])), first.conversation.chosen);
  assert.deepEqual(path.map(({ message }) => message.text), ["?", "!"]);
  assert.ok(path.every(({ message }) => message.conversation === first.conversation.id));
  assert.equal(path[1].message.status, "interrupted");
  assert.equal(first.conversation.from, path[0].message.id);
});

test("what is no export is refused with a sentence", () => {
  for (const [text, sentence] of [["{", /no JSON/], ["null", /no conversations/], ['{"format": "other"}', /no conversations/],
    [JSON.stringify({ format: FORMAT, conversations: [null] }), /no conversations/],
    [JSON.stringify({ format: FORMAT, conversations: [{ conversation: {}, messages: [null] }] }), /no conversations/]]) {
    assert.throws(() => fromJson(text), sentence);
  }
});

test("Markdown holds what is shown", () => {
  const path = pathThrough(new Map(messages.map((each) => [each.id, each])));
  assert.equal(
    asMarkdown("T", path),
    "# T\n\n## Question\n\nn:\n```\nt\n```\n\n?\n\n## Answer\n\n<details><summary>Thoughts</summary>\n\nhm\n\n</details>\n\n!\n",
  );
  assert.equal(fileName("a/b: c?", "md"), "a b c.md");
  assert.equal(fileName("…", "md"), "conversation.md");
});
