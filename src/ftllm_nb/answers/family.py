"""What a family of models is: how it thinks, how it writes calls, and how its chat templates are recognized."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from ftllm_nb.answers.call_form import PLAIN, CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.events import CallEnds, Content, Reasoning
from ftllm_nb.answers.markup import Markup
from ftllm_nb.answers.openings import Opening, markup_openings, openings_of
from ftllm_nb.answers.reader import NotACall, Reader, Steps, UnknownFunction
from ftllm_nb.answers.tags import Tags


@dataclass(frozen=True)
class Thinking:
    """What thinking begins and ends with. `leads_on`: what begins the answer behind it."""

    begin: str
    end: str
    leads_on: str = ""

    @property
    def closing(self) -> str:
        """What ends thinking that is broken off, and begins the answer."""
        return f"{self.end}{self.leads_on}" if self.end.startswith("<|") else f"\n{self.end}{self.leads_on}"


THINKING = (
    Thinking("<think>", "</think>"),
    Thinking("[THINK]", "[/THINK]"),
    Thinking("<seed:think>", "</seed:think>"),
    Thinking("◁think▷", "◁/think▷"),
)
"""Pairs that no answer begins with for another reason: every family knows them."""


class Family:
    """A family writes text, and calls that begin with one of `begins`.

    Subclasses say what stands in a call, by `calls`; those whose answers are made of channels all of it, by `answer`.
    """

    name: str
    """As --tool_call_parser takes it: the file's."""
    signs: tuple[tuple[str, ...], ...] = ()
    """Texts that a chat template of the family writes: all of one alternative. A template that has the signs of several
    families belongs to the one with the longest."""
    hint: str = ""
    """What such a template writes where it has no family's signs."""
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    """What ends a call; up to there a call of an unknown function is text."""
    silent: tuple[str, ...] = ()
    """Tags around text that are no text."""
    stops: tuple[str, ...] = ()
    """Tokens that end an answer, besides those that the model's files name."""
    thinking: tuple[Thinking, ...] = THINKING
    thinking_variables: tuple[str, ...] = ("enable_thinking", "thinking")
    """What chat templates call the variable that says whether to think."""
    breaks_thinking: tuple[str, ...] = ()
    """Tags that end thinking where they are tokens, since models forget to end it."""
    tags: tuple[str, ...] = ()
    """Further tags, besides those above."""
    form: CallForm = PLAIN
    markup: Markup | None = None
    """Of families that write arguments in tags."""

    def all_tags(self) -> Iterable[str]:
        """Every tag, once, that may be a control token."""
        pairs = [tag for pair in self.thinking for tag in (pair.begin, pair.end)]
        return dict.fromkeys([*self.begins, *self.ends, *self.silent, *self.tags, *pairs])

    def openings(self, tags: Tags) -> list[Opening]:
        """What begins a call that can be held to a schema, wherever it stands in an answer; none where the family's
        calls cannot."""
        if self.form is not PLAIN:
            return openings_of(self.form, self.begins, self.ends)
        return [] if self.markup is None else markup_openings(self.markup, self.begins)

    def new_id(self) -> str:
        """An id for a call, as the family's templates take it in a history."""
        return f"call_{secrets.token_hex(12)}"

    def answer(self, reader: Reader, functions: Functions, opened: Thinking | None) -> Steps[None]:
        """Tells the whole answer. `opened`: the prompt ended inside of this thinking."""
        yield from self.thoughts(reader, opened)
        yield from self.body(reader, functions)

    def forced(self, reader: Reader, functions: Functions) -> Steps[None]:
        """Tells an answer that is calls, where it begins with a call in `form`."""
        if self.form is PLAIN:
            try:
                yield from json_calls(reader, functions)
            except NotACall:
                reader.at = 0
            yield from reader.skip_space()
        yield from self.body(reader, functions)

    def thoughts(self, reader: Reader, opened: Thinking | None) -> Steps[None]:
        """Tells the thinking at the beginning, if there is any, and reads the whitespace around it."""
        pair = opened
        if pair is None:
            start = reader.at
            yield from reader.skip_space()
            begin = yield from reader.take(*(each.begin for each in self.thinking))
            if not begin:
                reader.at = start
                return
            pair = next(each for each in self.thinking if each.begin == begin)
        yield from thought(reader, pair, tuple(filter(reader.tags.is_token, self.breaks_thinking)))

    def body(self, reader: Reader, functions: Functions) -> Steps[None]:
        """Tells text and calls to the end."""
        begins = self.begins if functions else ()
        while True:
            reader.drop_read()
            space, word = yield from reader.until_spaced(*begins, *self.silent, kind=Content, holds_space=bool(begins))
            if not word:
                yield reader.emit(Content, space, reader.at)
                return
            behind = reader.at
            if word in self.silent:
                yield reader.emit(Content, space, behind - len(reader.tags.mark(word)))
                continue
            told_to, reason = yield from _told_calls(reader, self.calls(reader, word, functions))
            if told_to is None:
                reader.at = behind
                yield reader.emit(Content, space, behind)
            elif reason is not None:
                reader.at = told_to
            if isinstance(reason, UnknownFunction) and self.ends:
                end = yield from reader.until(*self.ends, kind=Content)
                yield reader.emit(Content, reader.at - len(reader.tags.mark(end)), reader.at)
            elif reason is None:
                yield from reader.skip_space()

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """Tells the calls behind `begin`, which was read; NotACall where there is none, and nothing was told."""
        raise NotImplementedError


def _told_calls(reader: Reader, steps: Steps[None]) -> Steps[tuple[int | None, NotACall | None]]:
    """Runs what tells calls: (the place up to which some were told, why there was no further one)."""
    told_to: int | None = None
    while True:
        try:
            event = next(steps)
        except StopIteration:
            return reader.at, None
        except NotACall as reason:
            return told_to, reason
        if isinstance(event, CallEnds):
            told_to = reader.at
        yield event


def thought(reader: Reader, pair: Thinking, breaks: tuple[str, ...]) -> Steps[None]:
    """Tells thinking whose beginning was read, up to its end or to what breaks it off, and without the whitespace
    around it."""
    reader.is_thinking = True
    yield from reader.skip_space()
    yield from reader.take(pair.begin)  # some models write again what the prompt ended with
    yield from reader.skip_space()
    _, word = yield from reader.until_spaced(pair.end, *breaks, kind=Reasoning)
    if word in breaks:
        reader.at -= len(reader.tags.mark(word))
    reader.is_thinking = False
    yield from reader.skip_space()
