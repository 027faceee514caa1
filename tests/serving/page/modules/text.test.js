import assert from "node:assert/strict";
import test from "node:test";
import { decoded } from "../../../../src/ftllm_nb/serving/page/web/text/files.js";
import { sourceOf } from "../../../../src/ftllm_nb/serving/page/web/text/formulas.js";
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

test("only texts are attached", () => {
  const bytes = (...values) => Uint8Array.from(values);
  assert.equal(decoded(new TextEncoder().encode("é漢")), "é漢");
  assert.equal(decoded(bytes(0xff, 0xfe, 0x61, 0)), "a");
  assert.equal(decoded(bytes(0xfe, 0xff, 0, 0x61)), "a");
  assert.equal(decoded(bytes(0x61, 0, 0x62)), null);
  assert.equal(decoded(bytes(0x89, 0x50)), null);
});
