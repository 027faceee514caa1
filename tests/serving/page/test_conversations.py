"""Conversations that the browser keeps: their list, several tabs, reloads, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.page.conftest import (
    TIMEOUT,
    answer_to,
    answers,
    ask,
    press,
    questions,
    requests_to_model,
    wait_for_answers,
    wait_until_answered,
    wait_until_ready,
)
from tests.serving.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = "LONG story"


def titles(page: Page) -> list[str]:
    """The titles of the list."""
    return page.locator(".list .title").all_inner_texts()


def another_tab(page: Page, url: str = "", script: str = "") -> Page:
    """A tab of the same browser, on a new conversation unless the address says otherwise."""
    tab = page.context.new_page()
    tab.add_init_script(script)
    tab.set_default_timeout(TIMEOUT)
    tab.goto(url or page.url.partition("#")[0])
    wait_until_ready(tab)
    return tab


def begin(page: Page, question: str = LONG) -> None:
    """Ask, and wait until an answer grows."""
    ask(page, question)
    page.locator(".answer .counts", has_text="tokens/s").last.wait_for()


def test_each_tab_has_its_own_conversation(new_user: Callable[..., Page]) -> None:
    first = new_user()
    tabs = [first, another_tab(first), new_user()]
    for number, tab in enumerate(tabs):
        ask(tab, f"What is {number} + 4?")
    for number, tab in enumerate(tabs):
        wait_until_answered(tab)
        assert answers(tab) == [str(number + 4)]
        tab.reload()
        tab.locator(".answer").wait_for()
        assert answers(tab) == [str(number + 4)], "a reload keeps the conversation"
    assert sorted(titles(first)) == ["What is 0 + 4?", "What is 1 + 4?"], "both tabs' are there"
    assert titles(tabs[2]) == ["What is 2 + 4?"]


def test_two_tabs_with_one_conversation_lose_nothing(page: Page) -> None:
    answer_to(page, "What is 0 + 4?")
    # A tab that hears nothing of the others goes on from what it has read.
    deaf = another_tab(page, page.url, "window.BroadcastChannel = class { postMessage() {} };")
    deaf.locator(".answer").wait_for()
    assert answer_to(page, "What is 1 + 4?") == "5"
    assert answer_to(deaf, "What is 2 + 4?") == "6"
    assert questions(page) == ["What is 0 + 4?", "What is 1 + 4?"]
    assert questions(deaf) == ["What is 0 + 4?", "What is 2 + 4?"]
    for tab in (page, deaf):
        tab.reload()
        tab.get_by_label("of 2").wait_for()
        assert answers(tab) == ["4", "6"], "the newest is shown"
    press(page, "Previous version")
    page.locator(".bubble").get_by_text("What is 1 + 4?").wait_for()
    assert answers(page) == ["4", "5"]


def test_a_tab_sees_what_another_adds(page: Page) -> None:
    answer_to(page, "What is 0 + 4?")
    other = another_tab(page, page.url)
    answer_to(other, "What is 1 + 4?")
    page.locator(".answer").nth(1).wait_for()
    page.locator(".answer .tools").nth(1).wait_for(state="attached")
    assert answers(page) == ["4", "5"]
    begin(other)
    page.get_by_text("Another tab asked for this answer.").wait_for()
    other.keyboard.press("Escape")
    page.locator(".mark", has_text="Stopped").wait_for()
    press(other, "Delete What is 0 + 4?")
    press(other, "Delete")
    page.get_by_text("This conversation was deleted in another tab.").wait_for()
    assert answers(page) == [] == titles(page)


def test_a_reload_keeps_the_question_and_what_there_is_of_its_answer(page: Page, webui: ServerProcess) -> None:
    before = len(wait_for_answers(webui, 0))
    begin(page)
    page.wait_for_function("() => document.querySelector('.answer .markdown')?.innerText.length > 20")
    page.wait_for_timeout(1000)
    grown = answers(page)[0]
    page.reload()
    page.locator(".mark", has_text="Interrupted").wait_for()
    assert wait_for_answers(webui, before + 1)[-1]["finish_reason"] == "cancelled"
    assert questions(page) == [LONG]
    kept = answers(page)[0]
    assert len(kept) > 5 and (kept.startswith(grown[:20]))
    press(page, "Go on")
    page.wait_for_function(f"() => document.querySelector('.answer .markdown').innerText.length > {len(kept) + 10}")
    press(page, "Stop")
    page.locator(".mark", has_text="Stopped").wait_for()
    longer = answers(page)[0]
    assert longer.startswith(kept) and page.get_by_label("Version 1 of 2").count() == 0
    sent = requests_to_model(webui)[-1]
    assert sent["continue_final_message"] and sent["messages"][-1]["role"] == "assistant"
    page.locator(".mark").get_by_role("button", name="Try again").click()
    press(page, "Stop")
    page.get_by_label("Version 2 of 2").wait_for()
    press(page, "Previous version")
    page.locator(".mark", has_text="Stopped").wait_for()
    assert answers(page) == [longer]


def test_an_answer_goes_on_while_another_conversation_is_shown(page: Page, webui: ServerProcess) -> None:
    begin(page)
    press(page, "New conversation")
    assert answer_to(page, "What is 2 + 4?") == "6"
    assert webui.metric("requests_running") == 1
    page.get_by_label("Being answered").wait_for()
    page.locator(".list").get_by_text(LONG).click()
    page.get_by_role("button", name="Stop").wait_for()
    page.go_back()
    page.locator(".bubble").get_by_text("What is 2 + 4?").wait_for()
    page.go_forward()
    page.get_by_role("button", name="Stop").click()
    page.locator(".mark", has_text="Stopped").wait_for()


def test_conversations_are_renamed_searched_and_deleted(page: Page) -> None:
    for number in range(3):
        press(page, "New conversation")
        answer_to(page, f"What is {number} + 4?")
    assert titles(page) == ["What is 2 + 4?", "What is 1 + 4?", "What is 0 + 4?"]
    press(page, "Rename What is 2 + 4?")
    page.get_by_label("Title").fill("  Sums  ")
    page.keyboard.press("Enter")
    page.locator(".list").get_by_text("Sums").wait_for()
    search = page.get_by_label("Search conversations")
    search.fill("IS 1 +")
    page.locator(".list li").nth(1).wait_for(state="detached")
    assert titles(page) == ["What is 1 + 4?"]
    assert "What is 1 + 4?" in page.locator(".excerpt").inner_text()
    search.fill("no such text")
    page.get_by_text("Nothing found.").wait_for()
    search.fill("")
    page.locator(".list li").nth(2).wait_for()
    page.locator(".list li", has_text="1 + 4").hover()
    page.get_by_role("button", name="Delete What is 1 + 4?").click()
    page.get_by_role("dialog").get_by_text("will be gone from this browser").wait_for()
    press(page, "Cancel")
    assert len(titles(page)) == 3
    press(page, "Delete Sums")
    press(page, "Delete")
    page.get_by_role("heading", name="Ask the model something").wait_for()
    page.reload()
    wait_until_ready(page)
    assert titles(page) == ["What is 1 + 4?", "What is 0 + 4?"]


def test_export_and_import(page: Page, new_user: Callable[..., Page], tmp_path: Path) -> None:
    answer_to(page, "What is 17 + 25?")
    press(page, "Try again")
    page.get_by_label("Version 2 of 2").wait_for()
    wait_until_answered(page)
    files = {}
    for kind in ("Markdown", "JSON"):
        press(page, "Export this conversation")
        with page.expect_download() as download:
            press(page, kind)
        files[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[kind])
    text = files["Markdown"].read_text(encoding="utf-8")
    assert text == "# What is 17 + 25?\n\n## Question\n\nWhat is 17 + 25?\n\n## Answer\n\n42\n"
    assert files["JSON"].name == "What is 17 25.json"
    stranger = new_user()
    for number in (1, 2):
        stranger.get_by_label("File to import").set_input_files(files["JSON"])
        stranger.locator(".list li").nth(number - 1).wait_for()
    stranger.get_by_label("Version 2 of 2").wait_for()
    assert answers(stranger) == ["42"] and titles(stranger) == ["What is 17 + 25?"] * 2
    with stranger.expect_download() as download:
        press(stranger, "Export all")
    everything = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [len(each["messages"]) for each in everything["conversations"]] == [3, 3]
    for wrong, sentence in (("{", "is no JSON"), ('{"a": 1}', "holds no conversations"), ("[null]", "holds no")):
        (tmp_path / "wrong.json").write_text(wrong)
        stranger.get_by_label("File to import").set_input_files(tmp_path / "wrong.json")
        stranger.get_by_text(sentence).last.wait_for()
    assert len(titles(stranger)) == 2


def test_text_files_are_attached(page: Page, webui: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes\n```\ncode\n```\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    (tmp_path / "big.txt").write_text("word " * 3000)
    chooser = page.get_by_label("Files to attach")
    chooser.set_input_files([tmp_path / "notes.md", tmp_path / "picture.png", tmp_path / "big.txt"])
    page.get_by_text("picture.png is no text: only text files can be attached.").wait_for()
    page.locator(".chip.is-too-large", has_text="more than the model's 1,024").wait_for()
    press(page, "Remove big.txt")
    page.locator(".chip", has_text="tokens").wait_for()
    page.locator(".chip button", has_text="notes.md").click()
    page.get_by_role("dialog").get_by_text("# Notes").wait_for()
    press(page, "Close")
    answer_to(page, "What is in it?")
    asked = requests_to_model(webui)[-1]["messages"][-1]["content"]
    assert asked == "notes.md:\n````md\n# Notes\n```\ncode\n```\n````\n\nWhat is in it?"
    page.reload()
    page.locator(".question .chip", has_text="notes.md").wait_for()
    dropped = """() => {
      const data = new DataTransfer();
      data.items.add(new File(["x = 1"], "one.py"));
      document.querySelector("main").dispatchEvent(
        new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    page.evaluate(dropped)
    page.locator(".composer .chip", has_text="one.py").wait_for()


def test_a_browser_without_storage_says_so(new_user: Callable[..., Page]) -> None:
    page = new_user(script="Object.defineProperty(window, 'indexedDB', {value: {open() { throw Error('no room'); }}})")
    page.get_by_text("This browser keeps nothing: no room.").wait_for()
    assert answer_to(page, "What is 17 + 25?") == "42"
    assert titles(page) == ["What is 17 + 25?"]


def test_scrolling_up_is_respected(page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 420})
    answer_to(page, "ECHO " + "line\n\n" * 60)
    begin(page)
    thread = page.locator(".thread")
    is_at_end = """() => {
      const { scrollHeight, scrollTop, clientHeight } = document.querySelector(".thread");
      return scrollHeight - scrollTop - clientHeight < 40;
    }"""
    page.wait_for_function(is_at_end)
    thread.hover()
    page.mouse.wheel(0, -600)
    page.get_by_role("button", name="To the end").wait_for()
    top = thread.evaluate("element => element.scrollTop")
    page.wait_for_timeout(700)
    assert thread.evaluate("element => element.scrollTop") == pytest.approx(top, abs=2), "it is pulled back"
    press(page, "To the end")
    page.wait_for_timeout(500)
    page.wait_for_function(is_at_end)  # it follows again
    page.keyboard.press("Escape")
    wait_until_answered(page)
