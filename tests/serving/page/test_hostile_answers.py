"""Answers that would do harm: nothing of them runs, and nothing is asked for elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.page.conftest import answer_to, ask, press, wait_until_answered, wait_until_ready
from tests.serving.page.test_look import ANSWER
from tests.serving.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HARM = """<script>window.harm = 1</script> <img src="data:," onerror="window.harm = 2">
<a href="javascript:window.harm = 3">link</a> <iframe src="javascript:parent.harm = 4"></iframe>
<svg onload="window.harm = 5"></svg> <style>body { display: none }</style> <foo>bar</foo>

[another](javascript:window.harm=6) [data](data:text/html,<script>opener.harm=7</script>) <javascript:window.harm=8>
![picture](https://example.com/picture.png "title") <b onclick="window.harm=9">bold</b> <sub>low</sub>

<form action="https://example.com"><input name="q"></form> $\\href{javascript:window.harm=10}{x}$
$\\includegraphics{https://example.com/a.png}$ $\\htmlStyle{position:fixed}{y}$ The end.
"""
ELEMENTS = "script, iframe, style, img, svg[onload], form, input, foo, [onerror], [onclick]"


def test_html_in_an_answer_is_text(page: Page) -> None:
    answer_to(page, f"ECHO {HARM}")
    answer = page.locator(".answer")
    answer.get_by_text("The end.").wait_for()
    for text in ("link", "another", "data", "picture"):
        found = answer.get_by_text(text, exact=True)
        if found.count() and found.first.get_attribute("href") is None:
            found.first.click()
    assert page.evaluate("() => window.harm") is None
    assert answer.locator(f":is({ELEMENTS}, [href^=javascript], [href^=data])").count() == 0
    for text in ("<script>window.harm = 1</script>", "<foo>bar</foo>", '<form action="https://example.com">'):
        assert text in answer.inner_text(), "what was written is lost"
    assert answer.locator("sub").inner_text() == "low"
    assert [link.get_attribute("href") for link in answer.locator("a[href]").all()] == [
        "https://example.com/picture.png"
    ]
    link = answer.locator("a.picture")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")


def test_the_policy_holds_where_cleaning_would_not(new_user: Callable[..., Page], browser: Browser) -> None:
    """What got through would neither run nor load anything; text becomes no element but through the cleaning."""
    page = browser.new_page()
    page.goto(new_user().url)
    wait_until_ready(page)
    refused = page.evaluate("""() => {
        const put = (html) => { document.body.insertAdjacentHTML('beforeend', html); };
        try { put('<img src="data:," onerror="window.harm = 1">'); return ''; } catch (error) { return error.name; }
    }""")
    assert refused == "TypeError", "Trusted Types are not enforced"
    page.evaluate("""() => {
        const script = document.createElement('script');
        const picture = Object.assign(new Image(), {src: 'https://example.com/x.png'});
        const frame = document.createElement('iframe');
        const button = document.createElement('button');
        button.setAttribute('style', 'position: fixed');
        document.body.append(picture, frame, button);
        window.place = button;
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.harm") is None
    assert page.evaluate("() => getComputedStyle(window.place).position") == "static"
    page.close()


@pytest.mark.parametrize(
    "text",
    ["```python\nhalf open", "| a | b |\n|---|---|\n" + "| x | y |\n" * 400, "$$ \\frac{1}{", "[" * 3000, "> " * 300,
     "*" * 2000, "- " * 200 + "x", "$\\def\\a{\\a\\a}\\a$", "\\(" * 500, "a\u202eb \u0000 \ud7ff", "`" * 999],
    ids=["code", "table", "formula", "brackets", "quotes", "stars", "lists", "macros", "marks", "characters", "ticks"],
)  # fmt: skip
def test_odd_answers_are_shown(page: Page, text: str) -> None:
    ask(page, "ECHO first")
    wait_until_answered(page)
    # What the model says is told to the page alone: the prompt stays small.
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            status=200,
            content_type="text/event-stream",
            body="".join(
                f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text[at:at + 500]}}]})}\n\n"
                for at in range(0, len(text), 500)
            ) + "data: [DONE]\n\n",
        ),
    )  # fmt: skip
    ask(page, "say it")
    page.locator(".answer.is-done .markdown").nth(1).wait_for()
    shown = page.locator(".answer").nth(1).bounding_box()
    assert shown["width"] <= 800


def test_nothing_leaves_this_machine(launch: Callable[..., Browser], webui: ServerProcess, tmp_path: Path) -> None:
    """Chromium's own log of a visit: every address that it asked for or connected to is the server's."""
    log = tmp_path / "network.json"
    browser = launch(f"--log-net-log={log}")
    page = browser.new_page()
    page.goto(webui.url)
    wait_until_ready(page)
    ask(page, f"ECHO ![a](http://example.com/a.png) {ANSWER} $$x^2$$ {HARM}")
    page.locator(".answer .katex").first.wait_for()
    wait_until_answered(page)
    press(page, "Settings")
    page.wait_for_timeout(500)
    browser.close()
    events = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    asked = [event for event in events if event.get("initiator") and "url" in event]
    # Chromium has errands of its own; those for a page are of the page's origin, or isolated with it.
    of_page = {
        event["url"] for event in asked if webui.url in event["initiator"] or "127" in event["network_isolation_key"]
    }
    assert f"{webui.url}/v1/chat/completions" in of_page
    assert any(url.endswith(".woff2") for url in of_page) and any("katex.min.js" in url for url in of_page)
    assert {url for url in of_page if not url.startswith(webui.url)} == set()
