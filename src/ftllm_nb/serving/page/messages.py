"""Between Gradio's list of messages, which is what the page shows, and the messages that a model is asked with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Shown = dict[str, Any]
"""A message as Gradio has it: role, content, and metadata whose title makes it a thought that can be folded."""

OPEN, CLOSE = "<think>", "</think>"
THINKING = "Thinking"
FAILURE = "failure"
"""In the metadata of a sentence that stands where an answer should."""


def shown_answer(text: str, *, is_whole: bool) -> list[Shown]:
    """The text of an answer as messages: what the model thought first, where it did, and what it says."""
    text = text.lstrip()
    thought = ""
    is_thinking = False
    if text.startswith(OPEN):
        thought, end, text = text.removeprefix(OPEN).partition(CLOSE)
        is_thinking = not (end or is_whole)
    shown = []
    if thought.strip():
        status = "pending" if is_thinking else "done"
        shown.append(_message(thought.strip(), {"title": THINKING, "status": status}))
    if text.strip() or not shown:
        shown.append(_message(text.strip("\n")))
    return shown


def shown_failure(text: str, sentence: str) -> list[Shown]:
    """What there is of an answer, and below it why there is no more."""
    before = shown_answer(text, is_whole=True) if text.removeprefix(OPEN).strip() else []
    what = "The answer ended early" if before else "No answer"
    return [*before, _message(f"**{what}:** {as_markdown(sentence)}", {"id": FAILURE})]


def as_markdown(line: str) -> str:
    """Markdown that shows this line as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", line)


def asked_messages(history: Sequence[Shown], question: str, system: str) -> list[Shown]:
    """The messages in OpenAI's form that ask `question` after all that was said before.

    Thoughts and notes are left out, and so are questions that got no answer, since templates want turns.
    """
    messages: list[Shown] = [{"role": "system", "content": system}] if system.strip() else []
    waiting: list[Shown] = []
    for shown in history:
        metadata = shown.get("metadata") or {}
        if metadata.get("title") or metadata.get("id") == FAILURE:
            continue
        message = {"role": shown["role"], "content": _text(shown["content"])}
        if message["role"] == "user":
            waiting = [message]
        elif message["content"]:
            messages += [*waiting, message]
            waiting = []
    return [*messages, {"role": "user", "content": question}]


def with_parts(shown: Shown) -> Shown:
    """The message with its text as a part, which Gradio leaves as it is."""
    content = shown["content"]
    return {**shown, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else shown


def _message(text: str, metadata: dict[str, str] | None = None) -> Shown:
    return {"role": "assistant", "content": text, "metadata": metadata or {}}


def _text(content: Any) -> str:
    parts = content if isinstance(content, list) else [content]
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts)
