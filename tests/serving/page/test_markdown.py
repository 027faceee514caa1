"""The page's Markdown beside markdown-it-py's, which follows CommonMark, and what hostile text may not do."""

from __future__ import annotations

import random
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.page.conftest import answer_with, ask, wait_until_answered
from tests.serving.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = (
    "Plain text.",
    "two lines\nof one paragraph\n\nanother",
    "# One\n## Two ##\n###### Six\n####### seven\n#none",
    "**bold** *italic* ***both*** __bold__ _italic_ ~~gone~~",
    "snake_case_name 2*3*4 a * b * c **not closed *nor this",
    "**bold *nested* bold** *it **bo** it* **a**b**c**",
    "`code` ``a ` b`` ` x ` `unclosed **bold**",
    "\\*no emphasis\\* \\# \\` a\\b &amp; &lt;p&gt; &#65; &copy",
    "[label](https://example.com/a_b_c) [**bold**](<https://example.com/x> \"title\") [not a link] (x)",
    "<https://example.com/> and <b>text</b> and a < b > c",
    "[bad](javascript:alert(1)) [mail](mailto:a@b.example)",
    "- a\n- b\n- c",
    "* a\n  more of a\n* b\nlazy",
    "1. one\n2. two\n   - x\n   - y\n     1. deep\n3. three",
    "3) three\n4) four\n\n- other\n\n- loose\n\n  with a paragraph",
    "- a\n\n- b\n\n\n- c\n\nafter",
    "- item\n  ```python\n  x = 1\n\n  y = 2\n  ```\n- next",
    "1. a\n   > quoted\n2. b\n+ c",
    "-\n- b\n\n- # heading\n- ---",
    "In\n1986. Not a list\n2. nor this\n- but this",
    "> quote\n> more\nlazy\n> > nested\n\nafter\n\n> - a\n> - b",
    "```\ncode **not bold** <b>\n```\n~~~js\n`x`\n~~~",
    "````md\n```\ninner\n```\n````",
    "```python\nunfinished = True",
    "a\n```\ncode\n```\nb\n***\nc\n\n___",
    "| a | b |\n|---|:-:|\n| 1 | **2** |\n| 3 |\n| `x` | y \\| z | more |\n\nafter",
    "a | b\n--|--\n1 | 2\n> quote",
    "no | table\nhere | at all",
    "text\n| a |\n|---|\n| 1 |",
    "hard  \nbreak and\\\nanother",
    "中文**加粗**和*斜体*,`代码`。\n\n1. 第一\n2. 第二",
)

# The tree of what is shown: ["tag", attributes that matter, children…]; texts that follow one another are one.
TREE = """async (texts) => {
  const { showMarkdown } = await import("/page/markdown.js");
  const tree = (node) => {
    if (node.nodeType === 3) return node.data;
    if (node.matches("figure.code")) return ["pre", "", node.querySelector("code").textContent];
    if (node.matches("div.table")) return tree(node.firstChild);
    const attribute = node.localName === "a" ? node.getAttribute("href") : node.localName === "ol" ? String(node.start)
      : node.className;
    return [node.localName, attribute, ...[...node.childNodes].map(tree)];
  };
  return texts.map((text) => {
    const whole = document.createElement("div");
    showMarkdown(whole, text);
    const grown = document.createElement("div");
    for (let end = 0; end < text.length; end += 3) showMarkdown(grown, text.slice(0, end));
    showMarkdown(grown, text);
    if (!whole.isEqualNode(grown)) throw Error(`grows differently: ${text}`);
    return tree(whole);
  });
}"""


class Tree(HTMLParser):
    """The same tree of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[list[Any]] = [["div", ""]]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        style = (given.get("style") or "").partition(":")[2]
        attribute = given.get("href") or (given.get("start", "1") if tag == "ol" else "") or style.replace("left", "")
        tag = "del" if tag == "s" else tag
        self.stack[-1].append([tag, attribute])
        if tag != "hr":
            self.stack.append(self.stack[-1][-1])

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].append(data)


def tidy(tree: Any) -> Any:
    """Without space that HTML does not show, and with neighbouring texts as one."""
    tag, attribute, *children = tree
    if tag == "pre" and isinstance(children[0], list):
        children = children[0][2:] or [""]
    if tag == "pre":
        return [tag, "", children[0].removesuffix("\n")]
    tidied: list[Any] = []
    for child in children:
        if isinstance(child, str) and tidied and isinstance(tidied[-1], str):
            tidied[-1] += child
        else:
            tidied.append(child if isinstance(child, str) else tidy(child))
    if tag not in ("code", "em", "strong", "del", "a"):
        strip = [child.strip() if isinstance(child, str) else child for child in tidied]
        if tag in ("p", "th", "td") or tag[0] == "h":
            strip = tidied
        tidied = [child for child in strip if child]
    return [tag, "" if tag in ("li", "div") else attribute, *tidied]


def expected(text: str) -> Any:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.disable(["code", "lheading", "reference", "html_block", "html_inline", "image"])
    tree = Tree()
    tree.feed(parser.render(text).replace("<br />", ""))  # the page shows each end of a line as one
    tree.close()
    return tidy(tree.stack[0])


def test_markdown_is_shown_as_commonmark_says(page: Page) -> None:
    pytest.importorskip("markdown_it")
    joined = ["\n\n".join(pair) for pair in random.Random(5).sample(list(permutations(TEXTS, 2)), 120)]
    texts = [*TEXTS, *joined]
    for text, shown in zip(texts, page.evaluate(TREE, texts), strict=True):
        assert tidy(shown) == expected(text), text


# What acts, of each text; and the letters that are shown of those in which no syntax may take some away.
ACTS = """async ([texts, kept]) => {
  const { showMarkdown } = await import("/page/markdown.js");
  const show = (text) => {
    const box = document.createElement("div");
    showMarkdown(box, text);
    return box;
  };
  const started = performance.now();
  const acting = texts.filter((text) => {
    const box = show(text);
    const links = [...box.querySelectorAll("a")].map((link) => new URL(link.href).protocol);
    return box.querySelector(":is(script, img, iframe, object, style, form, [onerror], [onclick])")
      || links.some((protocol) => !["http:", "https:", "mailto:"].includes(protocol));
  });
  const letters = (text) => text.replace(/[^a-z]/g, "");
  const lost = kept.filter((text) => letters(show(text).textContent) !== letters(text));
  return { acting, lost, seconds: (performance.now() - started) / 1000 };
}"""


def test_no_text_breaks_the_page(page: Page) -> None:
    """Random and hostile text is shown within a time, with its letters, and without any element that could act."""
    draw = random.Random(3)
    texts = ["".join(draw.choices("*_~`[]()<>!#|-+>\\&;:. \n\n1ab", k=200)) for _ in range(300)]
    pieces = (">", "- ", "*a", "[", "![a](", "`", "``a", "<", "|a", "_a_", "**a", "1. ", "\\", "[a](http://b ", "<a:")
    texts += [piece * 4000 for piece in pieces]
    texts += ["> " * 500 + "x", "\n".join("  " * depth + "- x" for depth in range(300)), "|a" * 50 + "\n" + "|-" * 50]
    kept = ["".join(draw.choices("*_#>-+)(!\\;:. \n\n1ab", k=200)) for _ in range(300)]
    found = page.evaluate(ACTS, [texts, kept])
    assert (found["acting"], found["lost"]) == ([], [])
    assert found["seconds"] < 20


def test_hostile_answers_stay_text(new_user: Callable[..., Page]) -> None:
    """`new_user` fails the test when a dialog opens or a request leaves the server."""
    page = new_user()
    hostile = (
        "<script>alert(1)</script><img src=x onerror=alert(2)>\n\n![pic](http://example.invalid/a.png)\n\n"
        "[click](javascript:alert(3)) [data](data:text/html,x) <a href='javascript:alert(4)'>x</a>\n\n"
        "```<img src=x onerror=alert(5)>\n<script>alert(6)</script>\n```\n\n<|im_start|>system"
    )
    page.route("**/v1/chat/completions", answer_with(hostile))
    ask(page, "<b onclick=alert(7)>bold?</b> <|im_end|>")
    wait_until_answered(page)
    shown = page.locator("#conversation").inner_text()
    for text in ("<script>alert(1)</script><img src=x onerror=alert(2)>", "<script>alert(6)</script>"):
        assert text in shown
    assert "<|im_start|>system" in shown and "<b onclick=alert(7)>bold?</b> <|im_end|>" in shown
    assert page.locator("#conversation :is(img, script, b)").count() == 0
    assert page.locator("#conversation a").evaluate_all("links => links.map(link => link.href)") == [
        "http://example.invalid/a.png"
    ]


def test_the_policy_refuses_html_from_text(browser: Browser, webui: ServerProcess) -> None:
    """Even a mistake of the page's own code could not make HTML, or a script, from a text."""
    page = browser.new_page()
    page.goto(webui.url)
    for attempt in ('box.innerHTML = "<p>"', 'document.createElement("script").text = "1"', 'document.write("<p>")'):
        with pytest.raises(Exception, match=r"TrustedHTML|TrustedScript"):
            page.evaluate(f'() => {{ const box = document.createElement("div"); {attempt} }}')
    page.close()
