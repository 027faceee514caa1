"""What answers look like, wide and narrow, light and dark; and that they do no harm. Screenshots are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.page.conftest import (
    SCREENSHOTS,
    answer_to,
    ask,
    colour_of,
    wait_until_answered,
    wait_until_ready,
)
from tests.serving.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZES = {"wide": (1280, 860), "narrow": (375, 740)}
ANSWER = """Here is a **plan** with `code`, *emphasis* and a [link](https://example.com).

## Steps

1. Read the numbers
   - from a file
   - or from the terminal
2. Add them up

| numbers | sum | a heading that is longer than the others |
|---|---:|---|
| 17, 25 | 42 | averyveryveryveryverylongwordwithoutanyspaceinit |

> A quote goes on.

```python
def total(numbers, start=0):  # a comment that makes this line longer than a phone is wide
    return start + sum(int(number) for number in numbers) if numbers else None
```
"""
HARM = """<script>window.harm = 1</script> <img src="data:," onerror="window.harm = 2">
<a href="javascript:window.harm = 3">link</a> <iframe src="javascript:parent.harm = 4"></iframe>
<svg onload="window.harm = 5"></svg> <style>body { display: none }</style> <foo>bar</foo>

![picture](https://example.com/picture.png) <form action="https://example.com"><input name="q"></form> The end.
"""


def check_layout(page: Page) -> None:
    """Nothing reaches beyond the window, and what can be pressed lies in it."""
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    size = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size == [width, height]
    for selector in ("#question textarea", "#question button", "#settings .toggle-button", "h1", "#model"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height, selector
    title, button = (page.locator(selector).bounding_box() for selector in ("#model p", "#settings .toggle-button"))
    assert title["x"] + title["width"] <= button["x"] or title["y"] >= button["y"] + button["height"]


def luminance(colour: tuple[int, ...]) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_look(new_user: Callable[..., Page], scheme: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)

    def keep(name: str) -> None:
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(150)
            page.screenshot(path=SCREENSHOTS / f"{size}_{scheme}_{name}.png")
            if name != "settings":
                check_layout(page)

    page = new_user(color_scheme=scheme)
    keep("empty")
    assert not any(name in page.inner_text("body") for name in ("Gradio", "API", "footer"))
    paper = luminance(colour_of(page, "body"))
    assert paper > 0.8 if scheme == "light" else paper < 0.1
    for selector in ("h1", "#model p", "#conversation .placeholder p"):
        dark, light = sorted((luminance(colour_of(page, selector, "color")), paper))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{selector} can hardly be read"
    answer_to(page, "What is 17 + 25?")
    ask(page, f"ECHO {ANSWER}")
    page.get_by_test_id("bot").nth(1).locator("code.language-python").wait_for()
    wait_until_answered(page)
    keep("answer")
    ask(page, "LONG story")
    page.locator("#counts", has_text="tokens/s").wait_for()
    keep("streaming")
    page.keyboard.press("Escape")
    wait_until_answered(page)
    page.get_by_label("Toggle Sidebar").click()
    page.wait_for_timeout(300)
    keep("settings")
    for label in ("System prompt", "Temperature", "Top p", "Seed"):
        box = page.get_by_label(label).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= SIZES["narrow"][0]
    page.get_by_label("Toggle Sidebar").click()
    page.wait_for_timeout(300)
    answer_to(page, "BUSY")
    keep("error")


def test_light_and_dark_can_be_chosen(new_user: Callable[..., Page]) -> None:
    page = new_user(color_scheme="dark")
    dark = colour_of(page, "body")
    answer_to(page, "What is 17 + 25?")
    page.get_by_label("Toggle Sidebar").click()
    page.get_by_role("link", name="Light").click()
    wait_until_ready(page)
    page.get_by_test_id("bot").get_by_text("42", exact=True).wait_for()
    assert colour_of(page, "body") != dark


def test_code_tables_and_thoughts(page: Page) -> None:
    ask(page, f"ECHO <think>First *this*.</think>{ANSWER}")
    code = page.get_by_test_id("bot").locator("code.language-python")
    code.wait_for()
    wait_until_answered(page)
    assert code.locator(".keyword").count() >= 4
    assert page.get_by_test_id("bot").locator("td").all_inner_texts()[:2] == ["17, 25", "42"]
    thought = page.get_by_test_id("bot").get_by_text("First this.")
    assert thought.count() == 0 or not thought.is_visible(), "thoughts are folded"
    page.get_by_role("button", name="Thinking").click()
    thought.wait_for()


def test_html_in_an_answer_is_harmless(webui: ServerProcess, browser: Browser) -> None:
    page = browser.new_page()
    page.set_default_timeout(10_000)
    page.goto(webui.url)
    wait_until_ready(page)
    ask(page, f"ECHO {HARM}")
    page.get_by_test_id("bot").get_by_text("The end.").wait_for()
    wait_until_answered(page)
    page.get_by_test_id("bot").get_by_text("link").click()
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.harm") is None
    assert page.get_by_test_id("bot").locator("script, iframe, style, [onerror], [href^=javascript]").count() == 0
    assert page.get_by_test_id("bot").is_visible()
    # And if the cleaning of HTML had a hole, the policy would refuse what got through.
    page.evaluate("""() => document.querySelector('[data-testid=bot]').insertAdjacentHTML('beforeend',
        '<img src="data:," onerror="window.harm = 6"><iframe srcdoc="<script>parent.harm = 7</script>"></iframe>')""")
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.harm") is None
    page.close()


def test_nothing_leaves_this_machine(launch: Callable[..., Browser], webui: ServerProcess, tmp_path: Path) -> None:
    """Chromium's own log of a visit: every address that it asked for or connected to is the server's."""
    log = tmp_path / "network.json"
    browser = launch(f"--log-net-log={log}")
    page = browser.new_page()
    page.goto(webui.url)
    wait_until_ready(page)
    ask(page, f"ECHO ![a](http://example.com/a.png) {ANSWER} $$x^2$$ {HARM}")
    page.get_by_test_id("bot").get_by_text("The end.").wait_for()
    wait_until_answered(page)
    page.get_by_label("Toggle Sidebar").click()
    page.wait_for_timeout(500)
    browser.close()
    events = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    asked = [event for event in events if event.get("initiator") and "url" in event]
    # Chromium has errands of its own; those for a page are of the page's origin, or isolated with it.
    of_page = {
        event["url"] for event in asked if webui.url in event["initiator"] or "127" in event["network_isolation_key"]
    }
    assert f"{webui.url}/gradio_api/queue/join?" in of_page
    assert {url for url in of_page if not url.startswith(webui.url)} == set()
