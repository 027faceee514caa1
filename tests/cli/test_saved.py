"""Conversations as files: what is written can be loaded, and anything else is refused in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.cli.talk.last_conversation import last_conversation_file, recall, remember
from ftllm_nb.cli.talk.saved import as_json, as_markdown, read_conversation, write_text
from ftllm_nb.cli.talk.text_file import read_text
from ftllm_nb.errors import UsageError
from tests.cli.scripted_chat import ScriptedModel


def held(system: str | None = "be brief") -> Conversation:
    settings = {"temperature": 0.5, "top_k": 3, "max_tokens": 9}
    conversation = Conversation(ScriptedModel(), system, settings, enable_thinking=False)  # type: ignore[arg-type]
    list(conversation.ask("one\n\"two\" 你好 \U0001f600"))
    list(conversation.ask("three"))
    return conversation


@pytest.mark.parametrize("system", [None, "be brief"])
def test_what_is_saved_is_loaded(tmp_path: Path, system: str | None) -> None:
    before = held(system)
    file = tmp_path / "saved.json"
    write_text(str(file), as_json(before, "folder"))
    saved = read_conversation(str(file))
    after = Conversation(ScriptedModel())  # type: ignore[arg-type]
    saved.restore(after)
    assert saved.model == "folder"
    assert (after.system, after.settings, after.enable_thinking) == (system, before.settings, False)
    assert after.messages == before.messages
    assert [turn.question for turn in after.turns] == [turn.question for turn in before.turns]
    assert after.turns[1].statistics is not None
    assert after.context_tokens() == before.context_tokens()


def test_a_bare_list_of_messages_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "messages.json"
    file.write_text(json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]))
    saved = read_conversation(str(file))
    assert (saved.model, saved.system, saved.settings) == (None, None, {})
    assert [(turn.question, turn.answer) for turn in saved.turns] == [("a", "b")]


USER = {"role": "user", "content": "a"}
ASSISTANT = {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    "content, says",
    [
        ("", "it is no JSON (line 1, column 1)"),
        ("[1,", "it is no JSON"),
        ("[" * 100_000, "too deep"),
        ("3", 'holds no list "messages"'),
        ("{}", 'holds no list "messages"'),
        ('{"messages": 3}', 'holds no list "messages"'),
        ("[3]", "message 1 must be"),
        ([{"role": "user"}], "message 1 must be"),
        ([USER], "must take turns"),
        ([ASSISTANT, USER], "must take turns"),
        ([USER, ASSISTANT, ASSISTANT, USER], "must take turns"),
        ({"messages": [], "ftllm_nb_conversation": 2}, "another version"),
        ({"messages": [], "settings": []}, '"settings" must be an object'),
        ({"messages": [], "settings": {"warmth": 1}}, "'warmth' is no setting"),
        ({"messages": [], "settings": {"temperature": -1}}, "temperature: a number of at least 0"),
        ({"messages": [], "settings": {"top_k": 1.5}}, "top_k: a whole number"),
    ],
)
def test_a_file_that_is_no_conversation_is_refused(tmp_path: Path, content: Any, says: str) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UsageError) as error:
        read_conversation(str(file))
    assert says in str(error.value) and str(file) in str(error.value) and "\n" not in str(error.value)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_text(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="is a folder"):
        read_text(str(tmp_path))
    with pytest.raises(UsageError, match="no plain file"):
        read_text("/dev/zero")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(str(tmp_path / "none" / "file"), "a")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(str(tmp_path), "a")
    with pytest.raises(UsageError, match="no path may hold"):
        read_text("a\0b")


def test_writing_replaces_the_file_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a longer text than the new one")
    file.chmod(0o644)
    write_text(str(file), "new \udce4\n")
    assert file.read_text() == "new ?\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["file"]
    write_text(str(tmp_path / "fresh"), "a")
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o600


def test_markdown_has_a_heading_a_message() -> None:
    text = as_markdown(held(), "demo")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Conversation with demo", "## System", "## You", "## demo", "## You", "## demo"]
    assert "\n\nthree\n\n" in text and "4 three" in text


def test_the_last_conversation_is_recalled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="no conversation to go on with"):
        recall()
    remember(held(), "folder")
    assert recall().model == "folder" and len(recall().turns) == 2
    file = last_conversation_file()
    assert file is not None and file.stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember(held(), "folder")
