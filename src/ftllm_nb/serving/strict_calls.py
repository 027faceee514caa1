"""Answers that are free until they begin a call, and are then held to the schema of the function that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import llguidance
import numpy as np
from numpy.typing import NDArray

from ftllm_nb.answers.family import Thinking
from ftllm_nb.answers.openings import Opening
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.engine.request import Constraint, ConstraintError
from ftllm_nb.serving.constraints import Grammar, GrammarConstraint, Grammars, allowed_ids
from ftllm_nb.serving.tool_calls import CALL_NAME
from ftllm_nb.serving.vocabulary_texts import bytewise

MOST_KEPT = 1024
"""Characters of an answer in which the beginning of a call is looked for."""


@dataclass
class Begun:
    """What may follow an opening. `call`: what follows `grammar`, that of the calls; `other`: of what is no call, None
    where it must be one; `fits`: whether a token's bytes behind the opening can be followed, as far as that was asked.
    """

    opening: Opening
    text: str
    before: re.Pattern[str]
    grammar: Grammar
    call: llguidance.LLMatcher
    other: llguidance.LLMatcher | None
    alone: list[int] = field(default_factory=list)
    """Tokens that hold the whole opening and more, whatever stands before them."""
    joined: list[int] = field(default_factory=list)
    """Those that do where the right thing stands before them."""
    fits: dict[str, bool] = field(default_factory=dict)
    wrong_alone: set[int] | None = None
    """Those of `alone` that cannot be followed, once that was asked."""


class StrictCalls:
    """A `Constraint` for one answer. `begun`: by each opening, shared by answers; `opened`: the prompt ended inside of
    this thinking."""

    def __init__(
        self,
        style: AnswerStyle,
        grammars: Grammars,
        begun: Sequence[Begun],
        opened: Thinking | None = None,
    ) -> None:
        self._texts = grammars.texts(style)
        self._grammars = grammars
        self._begun = begun
        self._around: Constraint | None = None
        self._decoder = style.decoder()
        self._parser = style.parser(opened=opened)
        self._parser.push("")
        self._tail = "\n"
        """The end of the answer, where a line begins at its beginning and behind a call; tags are marks, other bytes
        characters of their number."""
        self._call: GrammarConstraint | None = None
        self._other: llguidance.LLMatcher | None = None

    def within(self, around: Constraint) -> StrictCalls:
        """The same, with another constraint that holds where no call is."""
        self._around = around
        return self

    def allowed(self, left: int) -> NDArray[np.intp] | None:
        """See `Constraint`."""
        if self._call is not None and self._other is None:
            return self._call.allowed(left)
        if self._other is not None:
            ids = allowed_ids(self._other, self._texts.size)
            if self._call is None:
                return ids
            is_allowed = np.zeros(self._texts.size, np.bool_)
            is_allowed[ids] = is_allowed[self._call.allowed(left)] = True
            return np.flatnonzero(is_allowed)
        around = None if self._around is None else self._around.allowed(left)
        if self._parser.is_thinking:
            return around
        wrong = self._wrong_beginnings()
        if not wrong:
            return around
        is_right = np.ones(self._texts.size, np.bool_)
        is_right[list(wrong)] = False
        return np.flatnonzero(is_right) if around is None else around[is_right[around]]

    def accept(self, token_id: int) -> None:
        """The token was chosen."""
        self._parser.push(self._decoder.push(token_id))
        if self._around is not None:
            self._around.accept(token_id)
        if self._parser.is_thinking:
            self._tail = "\n"
            return
        text = self._texts.of(token_id)
        if self._call is not None or self._other is not None:
            self._follow(token_id, text)
        else:
            found = self._beginning(text)
            self._tail = (self._tail + text)[-MOST_KEPT:]
            if found is not None:
                self._begin(*found)

    def _follow(self, token_id: int, text: str) -> None:
        """A token inside of a call, or of what may still turn out to be none."""
        self._tail += text
        if self._call is not None and not self._call.takes(token_id):
            self._call = None
        if self._other is not None and self._other.try_consume_tokens([token_id]) != 1:
            self._other = None
        if self._call is None and self._other is None:
            raise ConstraintError(f"the answer cannot go on within the {CALL_NAME}: simplify it.")
        if self._call is not None and self._call.is_whole:
            self._call = self._other = None
            self._tail = "\n"
        elif self._other is not None and self._other.is_accepting():
            self._call = self._other = None

    def _begin(self, begun: Begun, behind: str) -> None:
        """A call begins, or what may be one; `behind`: what the token holds behind the opening."""
        ids = self._texts.ids(begun.opening.held + behind) or []
        call = self._grammars.continued(begun.call, begun.grammar)
        self._call = call if all(map(call.takes, ids)) else None
        self._other = None
        if begun.other is not None:
            other = begun.other.deep_copy()
            self._other = other if other.try_consume_tokens(ids) == len(ids) else None

    def _beginning(self, text: str) -> tuple[Begun, str] | None:
        """The opening that a token's text completes, and the rest of the text."""
        whole = self._tail + text
        found: list[tuple[int, Begun]] = []
        for begun in self._begun:
            at = whole.find(begun.text, max(len(self._tail) - len(begun.text) + 1, 0))
            while at >= 0 and not begun.before.search(whole, 0, at):
                at = whole.find(begun.text, at + 1)
            if at >= 0:
                found.append((at + len(begun.text), begun))
        if not found:
            return None
        end, begun = min(found, key=lambda each: each[0])
        return begun, whole[end:]

    def _wrong_beginnings(self) -> set[int]:
        """Tokens that would complete an opening, and hold behind it what no call begins with."""
        wrong: set[int] = set()
        for begun in self._begun:
            if begun.wrong_alone is None:
                begun.wrong_alone = set(filter(self._is_wrong, begun.alone))
            wrong |= begun.wrong_alone
            wrong.update(filter(self._is_wrong, self._completing(begun)))
        return wrong

    def _is_wrong(self, token_id: int) -> bool:
        found = self._beginning(self._texts.of(token_id))
        return found is not None and bool(found[1]) and not self._fits(*found)

    def _completing(self, begun: Begun) -> Iterator[int]:
        if begun.joined and begun.before.search(self._tail):
            yield from begun.joined
        for length in range(1, len(begun.text)):
            if self._tail.endswith(begun.text[:length]):
                yield from self._texts.beginning(begun.text[length:])

    def _fits(self, begun: Begun, behind: str) -> bool:
        if behind not in begun.fits:
            ids = self._texts.ids(begun.opening.held + behind)
            matchers = [matcher for matcher in (begun.call, begun.other) if matcher is not None]
            begun.fits[behind] = ids is not None and any(
                matcher.deep_copy().try_consume_tokens(ids) == len(ids) for matcher in matchers
            )
        return begun.fits[behind]


def begun_by(
    opening: Opening,
    style: AnswerStyle,
    grammars: Grammars,
    grammar: Grammar,
    other: Grammar | None,
) -> Begun:
    """An opening with what may follow it. ApiError where that cannot be followed."""
    texts = grammars.texts(style)
    call, _ = grammars.matcher(grammar)
    no_call = None if other is None else grammars.matcher(other)[0]
    text, before_it = style.tags.mark(opening.text), style.tags.mark(opening.before)
    begun = Begun(opening, bytewise(text), re.compile(before_it), grammar, call, no_call)
    sample = style.tags.mark(opening.sample)
    for token_id in texts.holding(begun.text):
        before = texts.of(token_id).partition(begun.text)[0]
        if begun.before.search(before):
            begun.alone.append(token_id)
        elif begun.before.search(sample + before):
            begun.joined.append(token_id)
    return begun
