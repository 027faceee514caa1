"""The chat page in headless Chromium. Without Chromium or playwright these tests skip and say so."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

    from tests.serving.server_process import ServerProcess

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "webui-screenshots"
SCRIPTED = "tests.serving.page.scripted_server"
TIMEOUT = 30_000
"""Milliseconds until a page that does not show something is taken to be wrong: a busy machine makes it late."""
MISSING = [
    name
    for name, found in (("chromium", CHROMIUM), ("playwright", find_spec("playwright")))
    if not found
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and "launch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            if MISSING:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(MISSING)}"))


@pytest.fixture(scope="session")
def webui() -> Iterator[ServerProcess]:
    from tests.serving.server_process import ServerProcess

    with ServerProcess("demo", "--title", "Ask the *demo*", command=SCRIPTED) as server:
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

    def new_user(url: str = webui.url, is_ready: bool = True, script: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        if script:
            page.add_init_script(script)
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else complaints.append(asked.url))
        page.goto(url)
        if is_ready:
            wait_until_ready(page)
        return page

    yield new_user
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(new_user: Callable[..., Page]) -> Page:
    return new_user()


def is_complaint(message: ConsoleMessage) -> bool:
    """Whether the console's line tells of a fault of the page; a refusal of the server's is none."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def wait_until_ready(page: Page) -> None:
    """Until the page knows the model."""
    page.locator("#model", has_text="bfloat16").wait_for()


def ask(page: Page, question: str) -> None:
    """Send a question, and wait until its answer begins."""
    before = page.locator(".answer").count()
    page.get_by_label("Message", exact=True).fill(question)
    page.keyboard.press("Enter")
    page.locator(".answer").nth(before).wait_for()


def wait_until_answered(page: Page) -> None:
    """Until no answer is being made."""
    page.get_by_role("button", name="Send").wait_for()


def answer_to(page: Page, question: str) -> str:
    """Ask, and wait for the whole answer."""
    ask(page, question)
    wait_until_answered(page)
    return answers(page)[-1]


def answers(page: Page) -> list[str]:
    """The texts of all answers that are shown."""
    return [text.strip() for text in page.locator(".answer > .markdown").all_inner_texts()]


def questions(page: Page) -> list[str]:
    """The texts of all questions that are shown."""
    return page.locator(".question .bubble").all_inner_texts()


def press(page: Page, name: str) -> None:
    """The last button of this name."""
    page.get_by_role("button", name=name, exact=True).last.click()


def requests_to_model(server: ServerProcess) -> list[dict[str, Any]]:
    """What the model was asked, without what is not given."""
    return [line["request"] for line in server.log if "request" in line]


def wait_for_answers(server: ServerProcess, number: int) -> list[dict[str, Any]]:
    """The log's lines of answers, when there are at least so many."""
    deadline = time.monotonic() + TIMEOUT / 1000
    while True:
        lines = [line for line in server.log if "finish_reason" in line]
        if len(lines) >= number:
            return lines
        assert time.monotonic() < deadline, f"{number} answers are not in the log: {server.lines}"
        time.sleep(0.02)


def colour_of(page: Page, selector: str, name: str = "backgroundColor") -> tuple[int, ...]:
    """A computed colour, red, green and blue."""
    found = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")
    return tuple(map(int, re.findall(r"\d+", found)[:3]))
