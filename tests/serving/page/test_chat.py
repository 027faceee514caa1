"""What people do on the page, against a server on the demo model."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.page.conftest import (
    answer_at_length,
    answer_lines,
    answer_with,
    answers,
    ask,
    wait_for_text,
    wait_until_answered,
)
from tests.serving.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page

ENDPOINT = "**/v1/chat/completions"
SUM = "What is 17 + 25?"


def sent(page: Page, question: str) -> dict[str, Any]:
    """Ask; the body of the request that this makes."""
    with page.expect_request(ENDPOINT) as asked:
        ask(page, question)
    wait_until_answered(page)
    return dict(json.loads(asked.value.post_data or ""))


def test_an_answer_streams_with_its_counts(page: Page) -> None:
    page.evaluate(
        """() => {
          window.lengths = new Set();
          const note = () => lengths.add(document.querySelector(".answer > .markdown")?.textContent.length);
          new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    page.route(ENDPOINT, answer_at_length)
    ask(page, "Count from 3 to 9.")
    wait_for_text(page, "7, 8, 9")
    page.get_by_text("tokens/s").wait_for()
    page.get_by_label("Stop").click()
    wait_until_answered(page)
    assert page.evaluate("() => lengths.size") > 5
    page.unroute(ENDPOINT)
    ask(page, SUM)
    wait_until_answered(page)
    assert answers(page)[-1] == "42"
    page.locator("#counts", has_text="of 1,024 tokens").wait_for()
    assert "known) in" in page.locator("#speed").inner_text()
    assert page.title() == page.get_by_role("heading", level=1).inner_text() == "Ask the demo"
    assert page.get_by_role("status").inner_text() == "demo · bfloat16 · 1,024 tokens"


@pytest.mark.parametrize("how", ["button", "Escape", "new conversation"])
def test_stop_ends_the_answer_at_the_server(page: Page, webui: ServerProcess, how: str) -> None:
    webui.wait_until_idle()
    before = len(answer_lines(webui, 0))
    page.route(ENDPOINT, answer_at_length)
    ask(page, "Tell me a story.")
    wait_for_text(page)
    if how == "button":
        page.get_by_label("Stop").click()
    elif how == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_label("New conversation").click()
    wait_until_answered(page)
    webui.wait_until_idle(2)
    assert answer_lines(webui, before + 1)[-1]["finish_reason"] == "cancelled"
    if how == "new conversation":
        assert answers(page) == []
        return
    page.get_by_text("Stopped").wait_for()
    page.unroute(ENDPOINT)
    page.get_by_role("button", name="Retry").click()
    wait_until_answered(page)
    assert page.get_by_text("Stopped").count() == 0
    assert len(answers(page)) == 1


def test_retry_edit_and_undo(page: Page, webui: ServerProcess) -> None:
    questions = (SUM, "What is the capital of France?", "Count from 3 to 9.", "What is the capital of Italy?")
    for question in questions:
        ask(page, question)
        wait_until_answered(page)
    before = answers(page)
    assert before[0] == "42" and len(before) == len(questions)

    webui.wait_until_idle()
    logged = len(answer_lines(webui, len(questions)))
    page.get_by_role("button", name="Retry").click()
    wait_until_answered(page)
    assert answers(page) == before
    last = answer_lines(webui, logged + 1)[-1]
    assert last["cached_tokens"] > 0.5 * last["prompt_tokens"], "what the model has read is read again"

    page.get_by_role("button", name="Undo").click()
    assert answers(page) == before[:-1]
    assert page.get_by_label("Message", exact=True).input_value() == questions[-1]

    page.locator(".question").first.hover()
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_label("Edit the message").fill("never sent")
    page.keyboard.press("Escape")
    assert page.locator(".question .text").first.inner_text() == SUM
    page.locator(".question").first.hover()
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_label("Edit the message").fill("What is 2 + 3?")
    page.keyboard.press("Enter")
    page.locator(".exchange").nth(1).wait_for(state="detached")
    wait_until_answered(page)
    assert answers(page) == ["5"]


def test_system_prompt_and_settings_are_used(page: Page) -> None:
    assert set(sent(page, SUM)) == {"messages", "stream", "stream_options"}
    page.get_by_label("Settings", exact=True).first.click()
    page.get_by_label("System prompt").fill("You are terse.")
    for label, value in (("Temperature", "0.5"), ("Top p", "0.9"), ("Top k", "7"), ("Min p", "0.1"),
                         ("Repetition penalty", "1.25"), ("Longest answer", "1"), ("Seed", "11")):  # fmt: skip
        page.get_by_label(label).fill(value)
    body = sent(page, "Count from 3 to 9.")
    assert body["messages"] == [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": SUM},
        {"role": "assistant", "content": "42"},
        {"role": "user", "content": "Count from 3 to 9."},
    ]
    given = {name: value for name, value in body.items() if name not in ("messages", "stream", "stream_options")}
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.25}
    assert given == {**sampling, "max_tokens": 1, "seed": 11}
    page.get_by_text("Ended at the longest length").wait_for()
    page.reload()
    page.get_by_label("Settings", exact=True).first.click()
    assert page.get_by_label("Temperature").input_value() == "0.5", "settings outlive a reload"
    page.get_by_label("Temperature").fill("9")
    ask(page, "too hot")
    assert page.locator(".question", has_text="too hot").count() == 0
    page.get_by_role("alert").get_by_text("Temperature must be a number from 0 to 2.").wait_for()
    page.get_by_role("button", name="Use the model’s own settings").click()
    page.get_by_label("Message", exact=True).press("Enter")
    page.locator(".question", has_text="too hot").wait_for()
    wait_until_answered(page)


def test_errors_are_sentences_and_nothing_is_lost(page: Page) -> None:
    ask(page, "word " * 3000)
    error = page.get_by_role("alert").locator("visible=true")
    error.wait_for()
    assert "1024" in error.inner_text() and error.inner_text().endswith(".")
    page.get_by_role("button", name="Undo").click()
    assert page.get_by_label("Message", exact=True).input_value() == "word " * 3000

    page.route(ENDPOINT, lambda route: route.abort())
    ask(page, SUM)
    error.get_by_text("The server cannot be reached: is it still running?").wait_for()
    page.unroute(ENDPOINT)
    page.route(ENDPOINT, answer_with("half an answ", ending=""))
    page.get_by_role("button", name="Retry").click()
    error.get_by_text("The connection to the server was lost before the answer ended.").wait_for()
    assert answers(page) == ["half an answ"]
    page.unroute(ENDPOINT)
    late = {"error": {"message": "the answer took more than 600 s.", "type": "server_error"}}
    page.route(ENDPOINT, answer_with("x", ending=f"data: {json.dumps(late)}\n\n"))
    page.get_by_role("button", name="Retry").click()
    error.get_by_text("The answer took more than 600 s.").wait_for()
    page.unroute(ENDPOINT)
    page.get_by_role("button", name="Retry").click()
    wait_until_answered(page)
    assert answers(page) == ["42"] and error.count() == 0


def test_a_retry_that_fails_can_be_undone(page: Page) -> None:
    ask(page, SUM)
    wait_until_answered(page)
    page.route(ENDPOINT, lambda route: route.abort())
    for _ in range(2):
        page.get_by_role("button", name="Retry").click()
        page.get_by_role("alert").locator("visible=true").wait_for()
        assert answers(page) == [""]
    page.get_by_role("button", name="Undo").click()
    assert answers(page) == ["42"]


def test_a_question_without_an_answer_is_left_out(page: Page) -> None:
    page.route(ENDPOINT, lambda route: route.abort())
    ask(page, "lost")
    page.get_by_role("alert").locator("visible=true").wait_for()
    page.unroute(ENDPOINT)
    assert sent(page, SUM)["messages"] == [{"role": "user", "content": SUM}]


def test_a_browser_that_goes_away_ends_its_answer(new_user: Callable[..., Page], webui: ServerProcess) -> None:
    page = new_user()
    page.route(ENDPOINT, answer_at_length)
    ask(page, "Tell me a story.")
    wait_for_text(page)
    page.close()
    started = time.monotonic()
    webui.wait_until_idle(2)
    assert time.monotonic() - started < 2


def test_several_people_at_once(new_user: Callable[..., Page]) -> None:
    pages = [new_user() for _ in range(3)]
    for number, page in enumerate(pages):
        ask(page, f"What is {number} + 4?")
    for number, page in enumerate(pages):
        wait_until_answered(page)
        assert answers(page) == [str(number + 4)]
    page = pages[0]
    page.reload()
    page.locator(".exchange").wait_for()
    assert answers(page) == ["4"], "a reload keeps the conversation"
    assert new_user().locator(".exchange").count() == 0


def test_thinking_is_folded(page: Page) -> None:
    page.route(ENDPOINT, answer_with("<think>\nFirst *this*.\n</think>\n\nThe **answer**."))
    ask(page, "Think.")
    wait_until_answered(page)
    assert answers(page) == ["The answer."]
    page.get_by_text("Thinking").click()
    page.get_by_text("First this.").wait_for()
    page.unroute(ENDPOINT)
    page.route("**/page/about", lambda route: route.fulfill(json={**route.fetch().json(), "begins_thinking": True}))
    page.reload()
    page.get_by_role("status").get_by_text("bfloat16").wait_for()
    page.route(ENDPOINT, answer_with("Hm.\n</think>\n\nYes."))
    ask(page, "Think at once.")
    wait_until_answered(page)
    assert answers(page) == ["The answer.", "Yes."]


def test_input_of_several_lines_and_of_input_methods(page: Page) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill("one")
    height = box.bounding_box()["height"]
    box.press("Shift+Enter")
    box.type("two")
    assert box.bounding_box()["height"] > height
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    assert box.input_value() == "one\ntwo"
    box.fill("  \n ")
    box.press("Enter")
    assert page.locator(".exchange").count() == 0


def test_a_key_is_asked_for_by_the_browser(browser: Any, new_user: Callable[..., Page]) -> None:
    with ServerProcess("demo", "--api_key", "sesame", command="webui") as server:
        page = new_user(server.url, http_credentials={"username": "anybody", "password": "sesame"})
        ask(page, SUM)
        wait_until_answered(page)
        assert answers(page) == ["42"]
        assert [line["client"] for line in answer_lines(server, 1)] == ["key 1"]
        stranger = browser.new_context(http_credentials={"username": "anybody", "password": "open"})
        assert stranger.new_page().goto(server.url).status == 401
        stranger.close()


def test_the_model_may_still_be_loading(new_user: Callable[..., Page], webui: ServerProcess) -> None:
    page = new_user()
    loading = {"name": "demo", "version": "1", "ready": False}
    page.route("**/page/about", lambda route: route.fulfill(json=loading), times=1)
    page.reload()
    page.get_by_role("status").get_by_text("demo · loading").wait_for()
    page.get_by_role("status").get_by_text("bfloat16").wait_for()
