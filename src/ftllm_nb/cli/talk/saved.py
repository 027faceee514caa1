"""Conversations as files: JSON that can be loaded again, and Markdown to read.

The JSON is an object: "messages" as chat programs exchange them, "settings" (how to sample), "model" (what the
conversation was held with) and "statistics", one entry a turn. A bare list of messages can be loaded as well.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from typing import Any

from ftllm_nb.cli.sampling_arguments import SAMPLING
from ftllm_nb.cli.talk.conversation import Conversation, Turn, replace_undecoded
from ftllm_nb.cli.talk.open_blocks import closed
from ftllm_nb.cli.talk.statistics import TurnStatistics
from ftllm_nb.cli.talk.text_file import read_text
from ftllm_nb.cli.talk.thinking import split_answer, with_thinking
from ftllm_nb.cli.whole_file import write_whole
from ftllm_nb.errors import UsageError

FORMAT = 1
"""Raised when the form changes; a file of a later form is refused."""


@dataclass(frozen=True)
class SavedConversation:
    """What a file holds. `model`: the name that the model was loaded by, None where the file does not say."""

    model: str | None
    system: str | None
    settings: dict[str, Any]
    enable_thinking: bool | None
    turns: list[Turn]

    def restore(self, conversation: Conversation) -> None:
        """Make the conversation go on from here."""
        conversation.system = self.system
        conversation.settings = dict(self.settings)
        conversation.enable_thinking = self.enable_thinking
        conversation.turns = list(self.turns)


def as_json(conversation: Conversation, model: str) -> str:
    """The conversation as the text of a file."""
    statistics = [turn.statistics and turn.statistics.as_json() for turn in conversation.turns]
    value = {
        "ftllm_nb_conversation": FORMAT,
        "model": model,
        "settings": conversation.settings,
        "enable_thinking": conversation.enable_thinking,
        "messages": conversation.messages,
        "statistics": statistics,
    }
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def as_markdown(conversation: Conversation, model: str) -> str:
    """The conversation to read: a heading a message, thinking as a quotation.

    What a message leaves open, as a code block that was cut, is closed.
    """
    parts = [f"# Conversation with {model}\n"]
    if conversation.system is not None:
        parts.append(f"## System\n\n{closed(conversation.system)}\n")
    for turn in conversation.turns:
        parts.append(f"## You\n\n{closed(turn.question)}\n")
        thought, text = split_answer(turn.answer)
        quoted = "".join(f"> {line}".rstrip() + "\n" for line in thought.splitlines()) + "\n" if thought else ""
        parts.append(f"## {model}\n\n{quoted}{closed(text)}\n")
    return "\n".join(parts)


def write_text(path: str, text: str) -> None:
    """Write a file in one go: it holds what it held before, or all of the text. Raises `UsageError`."""
    try:
        write_whole(os.path.expanduser(path), text, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from None
    except ValueError:
        raise UsageError(f"{path!r} holds a character that no path may hold.") from None


def read_conversation(path: str) -> SavedConversation:
    """A saved conversation, or a list of messages. Raises `UsageError` where the file is neither."""
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} is no saved conversation: it is no JSON (line {error.lineno}, column {error.colno})."
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no saved conversation: its JSON is too deep, or a number too long.") from None
    if isinstance(value, list):
        value = {"messages": value}
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise UsageError(f'{path} is no saved conversation: it holds no list "messages".')
    form = value.get("ftllm_nb_conversation", FORMAT)
    if form != FORMAT:
        raise UsageError(f"{path} was saved by another version (form {form!r}, this one reads {FORMAT}).")
    system, pairs = _split(value["messages"], path)
    statistics = value.get("statistics")
    known = statistics if isinstance(statistics, list) and len(statistics) == len(pairs) else [None] * len(pairs)
    model = value.get("model")
    thinking = value.get("enable_thinking")
    return SavedConversation(
        model=model if isinstance(model, str) else None,
        system=system,
        settings=_settings(value.get("settings", {}), path),
        enable_thinking=thinking if isinstance(thinking, bool) else None,
        turns=[
            Turn(question, answer, TurnStatistics.from_json(each))
            for (question, answer), each in zip(pairs, known, strict=True)
        ],
    )


def _split(messages: list[Any], path: str) -> tuple[str | None, list[tuple[str, str]]]:
    """The system message, and the questions with their answers."""
    texts = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise UsageError(f'{path}: message {number} must be {{"role": …, "content": a text}}.')
        thought = message.get("reasoning_content")
        content = with_thinking(thought if isinstance(thought, str) else "", message["content"])
        texts.append((message.get("role"), replace_undecoded(content)))
    system = texts.pop(0)[1] if texts and texts[0][0] == "system" else None
    expected = ["user", "assistant"] * (len(texts) // 2)
    if [role for role, _ in texts] != expected:
        raise UsageError(f"{path}: after the system message, user and assistant must take turns.")
    return system, [(texts[at][1], texts[at + 1][1]) for at in range(0, len(texts), 2)]


def _settings(value: Any, path: str) -> dict[str, Any]:
    """The settings, each checked as its flag is."""
    if not isinstance(value, dict):
        raise UsageError(f'{path}: "settings" must be an object.')
    checked = {}
    for name, setting in value.items():
        if name not in SAMPLING:
            raise UsageError(f"{path}: {name!r} is no setting: known are {', '.join(SAMPLING)}.")
        try:
            checked[name] = SAMPLING[name].parse(str(setting))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{path}: {name}: {error}.") from None
    return checked
