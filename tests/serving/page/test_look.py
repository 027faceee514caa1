"""What the page looks like, wide and narrow, light and dark. Screenshots are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.serving.page.conftest import (
    SCREENSHOTS,
    answer_to,
    ask,
    colour_of,
    press,
    wait_until_answered,
    wait_until_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = {"wide": (1280, 860), "narrow": (360, 740)}
ANSWER = r"""Here is a **plan** with `code`, *emphasis* and a [link](https://example.com).

## Steps

1. Read the numbers
   - from a file
   - or from the terminal
2. Add them up

| numbers | sum | a heading that is longer than the others |
|---|---:|---|
| 17, 25 | 42 | averyveryveryveryverylongwordwithoutanyspaceinit |

> A quote goes on.

The area is $\pi r^2$, at $5 to $10 each:

\[ \int_0^1 \frac{\sqrt{x}}{1+x^2}\,dx, \quad \vec{v}, \overbrace{a+b}^{n} \]

```python
def total(numbers, start=0):  # a comment that makes this line longer than a phone is wide
    return start + sum(int(number) for number in numbers) if numbers else None
```
"""


def check_layout(page: Page) -> None:
    """Nothing reaches beyond the window, and what can be pressed lies in it."""
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    size = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size == [width, height]
    thread = page.locator(".thread").evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert thread[0] <= thread[1]
    for selector in (".composer textarea", ".round", "header .icon-button >> visible=true", "h1", "#model"):
        box = page.locator(selector).last.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height, selector
    nameless = """() => [...document.querySelectorAll("button, input, textarea, meter, nav, dialog")]
        .filter((element) => !element.ariaLabel && !element.textContent.trim())
        .filter((element) => !element.labels?.length && !element.placeholder)
        .map((element) => element.outerHTML)"""
    assert page.evaluate(nameless) == []


def luminance(colour: tuple[int, ...]) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_look(new_user: Callable[..., Page], scheme: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)

    def keep(name: str, *, whole: bool = True) -> None:
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(250)
            page.screenshot(path=SCREENSHOTS / f"{size}_{scheme}_{name}.png")
            if whole:
                check_layout(page)

    page = new_user(color_scheme=scheme)
    keep("empty")
    paper = luminance(colour_of(page, "body"))
    assert paper > 0.8 if scheme == "light" else paper < 0.1
    for selector in ("h1", "#model", ".welcome p", ".nothing"):
        dark, light = sorted((luminance(colour_of(page, selector, "color")), paper))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{selector} can hardly be read"
    answer_to(page, "What is 17 + 25?")
    ask(page, f"ECHO {ANSWER}")
    page.locator(".answer .hljs-keyword").first.wait_for()
    page.locator(".answer .katex").nth(1).wait_for()
    wait_until_answered(page)
    keep("answer")
    page.goto(page.url.partition("#")[0])
    wait_until_ready(page)
    ask(page, "ECHO REASON First the tens, then the ones: ten and twenty, seven and five.\nIt is **42**.")
    page.locator(".thoughts[open]").wait_for()
    wait_until_answered(page)
    ask(page, "LONG story")
    page.locator(".answer .counts", has_text="tokens/s").nth(1).wait_for()
    keep("streaming")
    page.keyboard.press("Escape")
    wait_until_answered(page)
    ask(page, "BUSY")
    page.get_by_role("alert").wait_for()
    keep("error")
    press(page, "Settings")
    keep("settings", whole=False)
    for label in ("System prompt", "Temperature", "Top p", "Seed"):
        box = page.get_by_label(label).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= SIZES["narrow"][0]
    page.keyboard.press("Escape")
    press(page, "Show conversations")
    page.wait_for_timeout(250)
    page.screenshot(path=SCREENSHOTS / f"narrow_{scheme}_list.png")


def test_the_theme_is_remembered(new_user: Callable[..., Page]) -> None:
    page = new_user(color_scheme="dark")
    dark = colour_of(page, "body")
    press(page, "Settings")
    page.get_by_text("Light", exact=True).click()
    light = colour_of(page, "body")
    assert luminance(light) > 0.8 > luminance(dark)
    page.reload()
    wait_until_ready(page)
    assert colour_of(page, "body") == light
    page.emulate_media(color_scheme="light")
    press(page, "Settings")
    page.get_by_text("Device", exact=True).click()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    assert colour_of(page, "body") == dark


def test_code_tables_and_thoughts(page: Page) -> None:
    ask(page, f"ECHO REASON First *this*.\n{ANSWER}")
    code = page.locator(".answer code.language-python")
    code.wait_for()
    wait_until_answered(page)
    assert code.locator(".hljs-keyword").count() >= 4
    assert page.locator(".answer td").all_inner_texts()[:2] == ["17, 25", "42"]
    assert page.locator(".answer td").nth(1).evaluate("element => getComputedStyle(element).textAlign") == "right"
    thought = page.get_by_text("First this.")
    assert not thought.is_visible(), "thoughts are folded once the answer is there"
    page.get_by_text("Thought for").click()
    thought.wait_for()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(page, "Copy code")
    page.get_by_role("button", name="Copy code", exact=True).get_by_text("Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()").startswith("def total(numbers, start=0):")
    press(page, "Copy message")
    assert page.evaluate("() => navigator.clipboard.readText()").startswith("Here is a **plan** with `code`")


def test_calls_are_shown_as_code(page: Page) -> None:
    ask(page, "ECHO CALL")
    call = page.locator(".call")
    call.get_by_text('{"city": "Paris"}').wait_for()
    assert call.locator("figcaption").inner_text() == "Calls weather"
