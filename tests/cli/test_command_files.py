"""Slash commands that write and read files: save, load, export, read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ftllm_nb.cli.talk.toolbar import toolbar
from tests.cli.talk_on_text import Talk


def test_save_load_and_export(talk: Talk, tmp_path: Path) -> None:
    talk.say("/set temperature 0.5")
    talk.say("one")
    assert talk.say(f"/save {tmp_path}/a file.json") == f"(saved as {tmp_path}/a file.json)\n"
    assert talk.say(f"/export {tmp_path}/text.md").startswith("(exported as")
    assert "1 one" in (tmp_path / "text.md").read_text()
    other = Talk()
    text = other.say(f"/load {tmp_path}/a file.json")
    assert "going on after 1 turn" in text and "> one\n1 one\n" in text
    assert other.say("two") == "3 two\n"
    assert "('temperature', 0.5)" in other.say("options")


def test_a_file_of_others_is_refused_where_nobody_can_be_asked(talk: Talk, tmp_path: Path) -> None:
    talk.say("one")
    for command in ("save", "export"):
        file = tmp_path / command
        file.write_text("precious")
        assert talk.say(f"/{command} {file}") == f"error: {file} exists: /{command}! {file} replaces it.\n"
        assert file.read_text() == "precious"
        assert f"as {file}" in talk.say(f"/{command}! {file}")
        assert f"as {file}" in talk.say(f"/{command} {file}")  # this session's own
        file.write_text("changed meanwhile")
        assert "exists" in talk.say(f"/{command} {file}")
    assert talk.say("/save /dev/null") == "(saved as /dev/null)\n"


def test_an_unsaved_conversation_is_not_replaced_unasked(talk: Talk, tmp_path: Path) -> None:
    talk.say("one")
    talk.say(f"/save {tmp_path}/one")
    assert "going on after 1 turn" in talk.say(f"/load {tmp_path}/one")
    talk.say("two")
    assert "the conversation of 2 turns is not saved: /load! " in talk.say(f"/load {tmp_path}/one")
    answers = [False, True]
    talk.repl.ask_yes_no = lambda question, default: answers.pop(0)
    assert talk.say(f"/load {tmp_path}/one").startswith("(not loaded: ")
    assert "going on after 1 turn" in talk.say(f"/load {tmp_path}/one")
    talk.say("two")
    assert "going on after 1 turn" in talk.say(f"/load! {tmp_path}/one")


def test_loading_a_conversation_with_another_model_says_so(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"messages": [], "model": "other"}))
    assert "held with other, and goes on with demo" in talk.say(f"/load {file}")


def test_read_puts_files_before_the_next_question(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("some\nlines\n")
    read = talk.say(f"/read {tmp_path}/file")
    assert "2 lines, will stand before the next question, which has 10 tokens so far" in read
    assert talk.say("why?") == "1 some\nlines\n\nwhy?\n"
    assert talk.say("and?") == "3 and?\n"


def test_a_file_that_waits_is_seen_and_can_be_put_away(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("aa")
    (tmp_path / "b").write_text("bb")
    assert "waiting" not in talk.say("/show") and "wait" not in toolbar(talk.repl, 200)
    talk.say("/read a")
    assert "| a waits |" in toolbar(talk.repl, 200) + " |"
    talk.say("/read b")
    assert "2 files wait" in toolbar(talk.repl, 200)
    assert re.search("waiting +a, b, before the next question\n", talk.say("/show"))
    assert talk.say("/undo") == "(put away: b)\n"
    assert talk.say("why?") == "1 aa\n\nwhy?\n"
    assert talk.say("/undo") == "(taken back: aa why?)\n"


def test_a_pattern_reads_each_file_of_text_under_its_name(talk: Talk, tmp_path: Path) -> None:
    for name, data in (("a.py", b"x"), ("b.py", b"\x7fELF\0\1"), ("[c].py", b"z"), ("d.txt", b"no")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.py").mkdir()
    text = talk.say(f"/read {tmp_path}/*.py")
    assert f"(left out, since they are no text or cannot be read: {tmp_path}/b.py)" in text
    assert "2 files, will stand before the next question" in text
    assert talk.repl.waiting[0].text == f"{tmp_path}/[c].py:\n\nz\n\n{tmp_path}/a.py:\n\nx"
    assert "1 line, will stand" in talk.say(f"/read {tmp_path}/[c].py")  # a name that looks like a pattern
    assert "1 line, will stand" in talk.say(f"/read '{tmp_path}/d.txt'")
    assert "2 files, will stand" in talk.say(f"/read {tmp_path}/d.txt {tmp_path}/a*")
    assert "2 files, will stand" in talk.say(f"/read {tmp_path}/d.txt {tmp_path}/a.py")
    assert "matches no file" in talk.say(f"/read {tmp_path}/d.txt {tmp_path}/*.rs")
    assert "cannot be read" in talk.say(f"/read {tmp_path}/d.txt {tmp_path}/none")
    assert "matches no file" in talk.say(f"/read {tmp_path}/*.rs")
    assert "no file that" in talk.say(f"/read {tmp_path}/b.p*")
    assert "is a folder: name a file, or " in talk.say(f"/read {tmp_path}")


def test_a_text_that_is_too_long_does_not_spoil_the_next_question(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    assert "holds no text" in talk.say(f"/read {tmp_path}/empty")
    (tmp_path / "file").write_text("x" * 60)
    talk.say(f"/read {tmp_path}/file")
    assert "put away again" in talk.say("y" * 60)
    assert talk.say("one") == "1 one\n"
    talk.repl.conversation.model.context = 100
    assert "will stand" in talk.say(f"/read {tmp_path}/file")
    assert "122 tokens together with what was read before" in talk.say(f"/read {tmp_path}/file")
