"""Answers that think first: at most so many tokens, and a grammar holds only for what follows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.answers.family import Thinking
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.strict_calls import StrictCalls


class ThinkingLimit:
    """A `Constraint` for one answer.

    `opened`: the prompt ended inside of this thinking; `most`: tokens of thinking, after which its end is forced, None
    for any number; `then`: what holds for the answer itself.
    """

    def __init__(
        self, style: AnswerStyle, opened: Thinking | None, most: int | None, then: Constraint | None
    ) -> None:
        self._style = style
        self._decoder = style.decoder()
        self._parser = style.parser(opened=opened)
        self._parser.push("")
        self._pair = opened
        self._left = most
        self._then = then
        self._begins = {} if opened else style.thinking_begins()
        self._is_first = True
        self._may_end_line = False
        """Whether the thinking has just ended: models then write an empty line."""
        self._forced: list[int] = []
        breaks = {style.tags.mark(tag) for tag in style.family.breaks_thinking}
        self._breaks = {token_id for token_id, mark in style.tags.marks.items() if mark in breaks}

    def allowed(self, left: int) -> NDArray[np.intp] | None:
        """See `Constraint`."""
        if self._parser.is_thinking and self._left == 0 and not self._forced:
            self._forced = self._style.encode((self._pair or self._style.family.thinking[0]).closing)
        if self._forced:
            return np.array(self._forced[:1], np.intp)
        if self._parser.is_thinking or self._then is None:
            return None
        ids = self._then.allowed(left)
        more = self._begins.keys() if self._is_first else self._style.line_end_ids if self._may_end_line else ()
        return ids if ids is None or not more else np.union1d(ids, np.array(list(more), np.intp))

    def accept(self, token_id: int) -> None:
        """The token was chosen."""
        is_thinking = self._parser.is_thinking
        if self._is_first and token_id in self._begins:
            is_thinking, self._pair = True, self._begins[token_id]
        elif self._forced:
            self._forced.pop(0)
            is_thinking = True
        elif is_thinking and self._left:
            self._left -= 1
        self._is_first = False
        self._parser.push(self._decoder.push(token_id))
        is_blank = self._may_end_line and token_id in self._style.line_end_ids
        self._may_end_line = is_thinking and not self._parser.is_thinking
        is_thinking &= not (self._may_end_line and token_id in self._breaks)
        if not is_thinking and not is_blank and self._then is not None:
            self._then.accept(token_id)


def limited(
    style: AnswerStyle, opened: Thinking | None, most: int | None, then: Constraint | None
) -> Constraint | None:
    """The constraint of an answer that may think first; `then` itself where there is nothing to add."""
    if isinstance(then, StrictCalls):
        return then if most is None else then.within(ThinkingLimit(style, opened, most, None))
    if most is None and (then is None or (opened is None and not style.thinking_begins())):
        return then
    return ThinkingLimit(style, opened, most, then)
