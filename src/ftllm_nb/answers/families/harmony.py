"""gpt-oss: an answer is messages in channels, <|channel|>NAME<|message|>text; <|start|>assistant is before later ones.

analysis is thinking, final is the answer, commentary is the answer or, with to=functions.NAME, a call whose text is the
arguments' JSON.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, named_call
from ftllm_nb.answers.events import Content, Reasoning
from ftllm_nb.answers.family import Family, Thinking
from ftllm_nb.answers.openings import Opening
from ftllm_nb.answers.reader import NotACall, Reader, Steps
from ftllm_nb.answers.tags import Tags

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")
RECIPIENT = re.compile(r"to=([^\s<]+)")
LONGEST_HEADER = 512


class Harmony(Family):
    """Messages in channels."""

    signs = ((CHANNEL, MESSAGE, START),)
    tags = (START, CHANNEL, MESSAGE, CONSTRAIN, *ENDS)
    stops = ("<|call|>", "<|return|>")
    thinking = (Thinking(f"{CHANNEL}analysis{MESSAGE}", ENDS[0], f"{START}assistant{CHANNEL}final{MESSAGE}"),)
    form = CallForm(
        f"{CHANNEL}commentary to=functions.", "<|call|>", name_key="", separator=f" {CONSTRAIN}json{MESSAGE}"
    )

    def openings(self, tags: Tags) -> list[Opening]:
        """See Family. A header names the function, before the channel or behind it."""
        if not all(map(tags.is_token, (START, CHANNEL, MESSAGE))):
            return []
        inside = f"[^{START}{CHANNEL}{MESSAGE}]*$"
        behind = Opening("to=", "functions.", "<|call|>", before=f"{CHANNEL}{inside}", sample=CHANNEL)
        separator = f" {CHANNEL}commentary {CONSTRAIN}json{MESSAGE}"
        return [behind, replace(behind, before=f"{START}{inside}", sample=START, separator=separator)]

    def answer(self, reader: Reader, functions: Functions, opened: Thinking | None) -> Steps[None]:
        """See Family."""
        has_thought = False
        if opened is not None:
            has_thought = True
            yield from self._text(reader, Reasoning)
        while (yield from reader.peek()):
            reader.drop_read()
            if not (yield from reader.take(START, CHANNEL)):
                yield from self._text(reader, Content)
                continue
            header = yield from self._header(reader)
            if "analysis" in header and "to=" not in header:
                if has_thought:
                    yield Reasoning("\n")
                has_thought = True
                yield from self._text(reader, Reasoning)
            else:
                yield from self._answer_or_call(reader, header, functions)

    def body(self, reader: Reader, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from self.answer(reader, functions, None)

    def _header(self, reader: Reader) -> Steps[str]:
        """What stands before a message, whose tag is read, too."""
        start = reader.at
        while not (yield from reader.take(MESSAGE)):
            if reader.at - start > LONGEST_HEADER or not (yield from reader.peek()):
                break
            reader.at += 1
        return reader.tags.spell(reader.text[start : reader.at])

    def _answer_or_call(self, reader: Reader, header: str, functions: Functions) -> Steps[None]:
        recipient = RECIPIENT.search(header)
        name = recipient[1] if recipient is not None else ""
        name = name if name in functions else name.removeprefix("functions.")
        behind = reader.at
        if name in functions:
            try:
                yield from named_call(reader, name, ENDS)
            except NotACall:
                reader.at = behind
        yield from self._text(reader, Content)

    def _text(self, reader: Reader, kind: type[Content] | type[Reasoning]) -> Steps[None]:
        """Tells a message's text, up to its end."""
        reader.is_thinking = kind is Reasoning
        _, word = yield from reader.until_spaced(*ENDS, START, CHANNEL, kind=kind, holds_space=kind is Reasoning)
        reader.is_thinking = False
        if word in (START, CHANNEL):
            reader.at -= len(reader.tags.mark(word))


family = Harmony()
