import assert from "node:assert/strict";
import test from "node:test";
import { decoded } from "../../../../src/ftllm_nb/serving/page/web/text/files.js";
import { sourceOf } from "../../../../src/ftllm_nb/serving/page/web/text/formulas.js";
import { GrowingBlocks } from "../../../../src/ftllm_nb/serving/page/web/text/growing_blocks.js";
import { blocksOf, htmlOf } from "../../../../src/ftllm_nb/serving/page/web/text/markdown.js";

const html = (text) => blocksOf(text).map(htmlOf).join("").trim();
const formulas = (text) => [...html(text).matchAll(/<span class="formula( display)?">(.*?)<\/span>/gs)].map((match) => (match[1] ? "D:" : "") + sourceOf(match[2]));

test("formulas are found between all their marks", () => {
  assert.deepEqual(formulas("so $x^2$ and \\(y\\), $$z$$ here"), ["x^2", "y", "D:z"]);
  assert.deepEqual(formulas("$$\na\n$$\nthen\n\\[\nb\n\\]\nend"), ["D:a", "D:b"]);
  assert.deepEqual(formulas("$\\alpha$, $a_1$ ($1$) $-1$ $a\nb$"), ["\\alpha", "a_1", "1", "-1", "a\nb"]);
  assert.deepEqual(formulas("- $a$\n- b\n\n| $c$ |\n|---|\n| \\(d\\) |"), ["a", "c", "d"]);
  assert.deepEqual(formulas("$a_b$ and $c_d$ *e*"), ["a_b", "c_d"]);
});

for (const text of [
  "It costs $5 and $10, or US$5 and CA$7.", "$5-$10, $20/$30", "$HOME and $PATH", "\\$5 and \\$6", "`$x$`", "```\n$$x$$\n```",
  "$ 5 and 6 $", "$5", "5$ to 6$", "a $20 bill\n\nand a $10 one", "from $3.50 to $4.50 (a$b)",
]) test(`no formula in ${JSON.stringify(text)}`, () => assert.deepEqual(formulas(text), []));

test("HTML is text, but for plain marks", () => {
  assert.equal(html("a <script>x</script> <b onclick=y>z</b>"), "<p>a &lt;script&gt;x&lt;/script&gt; &lt;b onclick=y&gt;z</b></p>");
  assert.equal(html("H<sub>2</sub>O<br>x"), "<p>H<sub>2</sub>O<br>x</p>");
  assert.equal(html("<div>\na\n</div>"), '<p class="as-written">&lt;div&gt;\na\n&lt;/div&gt;</p>');
  assert.ok(!html("![p](http://x/y.png)").includes("<img"));
});

test("a text that grows has the blocks of the whole", () => {
  const text = "# a\n\nb $x$\n\n- 1\n\n- 2\n  3\n\n| a |\n|---|\n| b |\n\n```py\nx\n\ny\n```\n\n$$\nz\n$$\n\n> q\n\n    code\n\nend\nend";
  const growing = new GrowingBlocks();
  for (let length = 0; length <= text.length; length += 1) {
    const shown = growing.of(text.slice(0, length), false).map(htmlOf);
    assert.deepEqual(shown, blocksOf(text.slice(0, length)).map(htmlOf), `after ${length} characters`);
  }
  assert.deepEqual(growing.of("other", false).map(htmlOf), ["<p>other</p>\n"]);
  assert.deepEqual(growing.of("[a]\n\nb\n\nc\n\n[a]: http://x", true).map(htmlOf)[0], '<p><a href="http://x">a</a></p>\n');
});

test("reading takes no longer than the text is long", () => {
  for (const part of ["\\(a ", "$$ a\n", "\\[ a\n", "$a ", "para\n\n", "$$x$$ a\n"]) {
    const began = performance.now();
    blocksOf(part.repeat(8000)).map(htmlOf);
    const took = performance.now() - began;
    assert.ok(took < 5000, `${JSON.stringify(part)}: ${took} ms, where reading that grows with the square takes 12,000`);
  }
});

test("only texts are attached", () => {
  const bytes = (...values) => Uint8Array.from(values);
  assert.equal(decoded(new TextEncoder().encode("é漢")), "é漢");
  assert.equal(decoded(bytes(0xff, 0xfe, 0x61, 0)), "a");
  assert.equal(decoded(bytes(0xfe, 0xff, 0, 0x61)), "a");
  assert.equal(decoded(bytes(0x61, 0, 0x62)), null);
  assert.equal(decoded(bytes(0x89, 0x50)), null);
});
