"""How the page looks, wide and narrow, light and dark: what can be measured is, and the screenshots are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.page.conftest import (
    SCREENSHOTS,
    answer_at_length,
    answer_with,
    ask,
    wait_for_text,
    wait_until_answered,
)
from tests.serving.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZES = {"wide": (1280, 860), "narrow": (390, 844), "small": (320, 568)}
ANSWER = """Here is a **plan** with `code`, *emphasis* and a [link](https://example.com).

## Steps

1. Read the numbers
   - from a file
   - or from the terminal
2. Add them up

| numbers | sum | a heading that is longer than the others |
|---|---:|---|
| 17, 25 | 42 | averyveryveryveryverylongwordwithoutanyspaceinit |

> A quote goes on
> over two lines.

```python
def total(numbers, start=0):  # a comment that makes this line longer than a phone is wide
    return start + sum(int(number) for number in numbers) if numbers else None
```
"""


def check_layout(page: Page) -> None:
    """Nothing reaches beyond the window sideways, and what can be pressed lies in it and is large enough."""
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    for button in page.locator("nav button, #composer button, #question, .heading button").all():
        box = button.bounding_box()
        if box is not None:
            assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
            assert box["width"] >= 32 and box["height"] >= 32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_look(new_user: Callable[..., Page], size: str, scheme: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)

    def keep(name: str) -> None:
        check_layout(page)
        page.screenshot(path=SCREENSHOTS / f"{size}_{scheme}_{name}.png")

    width, height = SIZES[size]
    page = new_user(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=size != "wide")
    keep("empty")
    ask(page, "What is 17 + 25?")
    if size != "wide":
        page.get_by_label("Send", exact=True).click()
    wait_until_answered(page)
    page.route("**/v1/chat/completions", answer_with(ANSWER))
    page.get_by_label("Message", exact=True).fill("How do I add numbers in Python?\nWith a plan, please.")
    page.get_by_label("Send", exact=True).click()
    wait_until_answered(page)
    keep("answer")
    page.get_by_label("Settings", exact=True).first.click()
    keep("settings")
    page.get_by_label("Close").click()
    page.unroute("**/v1/chat/completions")
    page.get_by_label("Message", exact=True).fill("word " * 3000)
    page.get_by_label("Send", exact=True).click()
    page.get_by_role("alert").locator("visible=true").wait_for()
    keep("error")
    page.get_by_label("New conversation").click()
    page.route("**/v1/chat/completions", answer_at_length)
    page.get_by_label("Message", exact=True).fill("Tell me a story.")
    page.get_by_label("Send", exact=True).click()
    wait_for_text(page)
    page.get_by_text("tokens/s").wait_for()
    keep("streaming")
    page.get_by_label("Stop").click()
    wait_until_answered(page)


def test_light_and_dark_can_be_chosen(new_user: Callable[..., Page]) -> None:
    page = new_user(color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_label("Light or dark").click()
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    assert page.evaluate(paper) == light, "the choice outlives a reload"
    page.emulate_media(color_scheme="light")
    page.get_by_label("Light or dark").click()
    assert page.evaluate(paper) == dark


def test_nothing_leaves_this_machine(launch: Callable[..., Browser], webui: ServerProcess, tmp_path: Path) -> None:
    """Chromium's own log of a visit: every address that it asked for or connected to is the server's."""
    log = tmp_path / "network.json"
    browser = launch(f"--log-net-log={log}")
    page = browser.new_page()
    page.goto(webui.url)
    page.route("**/v1/chat/completions", answer_with("![a](http://example.com/a.png) " + ANSWER))
    ask(page, "What is 17 + 25?")
    wait_until_answered(page)
    page.wait_for_timeout(500)
    browser.close()
    events = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    asked = [event for event in events if event.get("initiator") and "url" in event]
    # Chromium has errands of its own; those for a page are of the page's origin, or isolated with it.
    of_page = {
        event["url"] for event in asked if webui.url in event["initiator"] or "127" in event["network_isolation_key"]
    }
    assert f"{webui.url}/page/main.js" in of_page
    assert {url for url in of_page if not url.startswith(webui.url)} == set()
