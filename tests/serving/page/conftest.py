"""The chat page in headless Chromium. Without Chromium or playwright these tests skip and say so."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

    from tests.serving.server_process import ServerProcess

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "webui-screenshots"
MISSING = [
    name
    for name, found in (("chromium", CHROMIUM), ("playwright", find_spec("playwright")))
    if not found
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if MISSING:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(MISSING)}"))


@pytest.fixture(scope="session")
def webui() -> Iterator[ServerProcess]:
    from tests.serving.server_process import ServerProcess

    with ServerProcess("demo", "--title", "Ask the demo", command="webui") as server:
        yield server


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts a browser with more arguments, on a profile of its own. While it is there, no other event loop can run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS.split(), *more])


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def new_user(webui: ServerProcess, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page for somebody new; at the end nobody's page may have reported an error or left this machine."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def new_user(url: str = webui.url, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda asked: None if asked.url.startswith(url) else complaints.append(asked.url))
        page.goto(url)
        page.get_by_role("status").get_by_text("bfloat16").wait_for()
        return page

    yield new_user
    for context in contexts:
        context.close()
    # Chromium itself reports each response that is an error.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest.fixture
def page(new_user: Callable[..., Page]) -> Page:
    return new_user()


def ask(page: Page, question: str) -> None:
    """Send a question."""
    page.get_by_label("Message", exact=True).fill(question)
    page.keyboard.press("Enter")


def wait_until_answered(page: Page) -> None:
    """Until no answer is being made."""
    page.locator("#send").wait_for()
    page.locator(".running").wait_for(state="detached")


def wait_for_text(page: Page, text: str = " ") -> None:
    """Until an answer holds this text."""
    page.locator(".answer > .markdown", has_text=text).first.wait_for()


def answers(page: Page) -> list[str]:
    """The texts of all answers."""
    return [text.strip() for text in page.locator(".answer > .markdown").all_inner_texts()]


def answer_lines(server: ServerProcess, number: int) -> list[dict[str, Any]]:
    """The log's lines of answers, when there are at least so many."""
    deadline = time.monotonic() + 5
    while True:
        lines = [line for line in server.log if "finish_reason" in line]
        if len(lines) >= number:
            return lines
        assert time.monotonic() < deadline, f"{number} answers are not in the log: {server.lines}"
        time.sleep(0.02)


def answer_at_length(route: Route) -> None:
    """A handler of requests: the model may not end its answer."""
    body = {**json.loads(route.request.post_data or ""), "logit_bias": {"0": -100, "2": -100}, "max_tokens": 900}
    route.continue_(post_data=json.dumps(body))


def answer_with(text: str, ending: str = "data: [DONE]\n\n") -> Callable[[Route], None]:
    """A handler of requests that answers with this text, in pieces of seven characters."""
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    events = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ending

    def handler(route: Route) -> None:
        route.fulfill(body=body, headers={"content-type": "text/event-stream; charset=utf-8"})

    return handler
