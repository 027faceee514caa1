"""Keeps small models from going on for ever where a JSON grammar would let them.

A number has 16 digits at most before and after its point. Where an answer repeats itself over and over, what it repeats
is brought to its end: the string is closed, or the list or object that grows item by item. And what would not end by
itself is closed while the answer has room for that, so that it can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_DIGITS = 16
MOST_SPACES = 2
"""Tokens of whitespace, one after another."""
LONGEST_PERIOD = 64
"""Tokens of what is repeated."""
REPEATED_IN_STRING, REPEATED = 32, 96
"""Tokens that repeat those before them, until it is enough: inside of one string, and over items."""
CLOSING_TOKENS, CLOSING_TOKENS_A_LEVEL = 24, 4
"""Tokens left of an answer, and for each open bracket, with which it is brought to its end; a quarter of a short
answer."""
_DIGITS, _ENDS, _NEXT, _SPACE = b"0123456789", b'"]}', b",", b" \n\t\r"


class TokenKinds:
    """What tokens may do to JSON.

    `leading_digits`: how many digits a token begins with; `ends`: tokens that close strings, lists and objects only;
    `steps`: those, and those that go on to a next item; `quotes`: those that begin with a quotation mark, as what ends
    a string does; `spaces`: tokens of whitespace; `lengths`: of all, in bytes.
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tokens
        self.leading_digits = np.array([len(each) - len(each.lstrip(_DIGITS)) for each in tokens], np.int64)
        self.ends = np.array([_consists_of(each, _ENDS) for each in tokens], np.bool_)
        self.lengths = np.array([len(each) for each in tokens], np.int64)
        self.spaces = np.array([bool(each) and not each.strip(_SPACE) for each in tokens], np.bool_)
        self.quotes = np.array([each.startswith(b'"') for each in tokens], np.bool_)
        self.steps = np.array([_consists_of(each, _ENDS + _NEXT) for each in tokens], np.bool_)


def _consists_of(token: bytes, kinds: bytes) -> bool:
    return bool(token.strip(_SPACE)) and not token.strip(kinds + _SPACE)


class Runaway:
    """Follows one answer."""

    def __init__(self, kinds: TokenKinds) -> None:
        self._kinds = kinds
        self._in_string = False
        self._escaped = False
        self._digits = 0
        self._spaces = 0
        self._depth = 0
        self._written = 0
        self._string_tokens = 0
        self._last = np.full(LONGEST_PERIOD, -1, np.int64)
        self._repeated = np.zeros(LONGEST_PERIOD, np.int64)
        self._depths: list[int] = []
        self._close_below: int | None = None
        self._close_string = False

    def limited(self, ids: NDArray[np.intp], left: int) -> NDArray[np.intp]:
        """Those of the allowed ids that lead to an end; all of them as long as nothing runs away. `left`: tokens that
        the answer may still have."""
        kinds = self._kinds
        room = min(CLOSING_TOKENS + CLOSING_TOKENS_A_LEVEL * self._depth, self._written // 3)
        if left <= room:
            self._close_string, self._close_below = self._in_string, 1
        if self._digits and not self._in_string:
            ids = _some(ids, kinds.leading_digits[ids] + self._digits <= MOST_DIGITS)
        if self._spaces >= MOST_SPACES:
            ids = _some(ids, ~kinds.spaces[ids])
        if self._close_string or self._close_below is not None:
            place = kinds.quotes[ids] | (not self._in_string)
            found = _some(ids, kinds.ends[ids] & place)
            ids = found if found is not ids else _some(ids, kinds.steps[ids] & place)
        return ids

    def push(self, token_id: int) -> None:
        """The token was chosen."""
        self._written += 1
        lowest = self._read(self._kinds.tokens[token_id])
        self._spaces = self._spaces + 1 if self._kinds.spaces[token_id] and not self._in_string else 0
        self._string_tokens = self._string_tokens + 1 if self._in_string else 0
        self._depths = [*self._depths[1 - LONGEST_PERIOD :], lowest]
        self._repeated = np.where(self._last == token_id, self._repeated + 1, 0)
        self._last[1:] = self._last[:-1]
        self._last[0] = token_id
        self._close_string = self._close_string and self._in_string
        if self._close_below is not None and self._depth < self._close_below:
            self._close_below = None
        if self._close_below is None and not self._close_string:
            self._look_for_repetition()

    def _look_for_repetition(self) -> None:
        period = int(np.argmax(self._repeated)) + 1
        repeated = int(self._repeated[period - 1])
        if self._in_string and self._string_tokens > repeated:
            self._close_string = repeated >= max(REPEATED_IN_STRING, 2 * period)
        elif repeated >= max(REPEATED, 2 * period):
            self._close_below = max(min(self._depths[-period:]), 1)

    def _read(self, token: bytes) -> int:
        """Take the token's bytes; the lowest depth of brackets on the way."""
        lowest = self._depth
        for byte in token:
            if self._in_string:
                self._in_string = self._escaped or byte != 0x22
                self._escaped = byte == 0x5C and not self._escaped
            elif byte == 0x22:
                self._in_string, self._digits = True, 0
            elif byte in _DIGITS:
                self._digits += 1
            else:
                self._digits = 0
                self._depth += (byte in b"[{") - (byte in b"]}")
                lowest = min(lowest, self._depth)
        return lowest


def _some(ids: NDArray[np.intp], kept: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Those that are kept; all, the same array, where none is."""
    return ids[kept] if kept.any() else ids
