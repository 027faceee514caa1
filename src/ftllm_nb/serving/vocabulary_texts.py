"""Tokens as texts to search in: tags that are tokens are marks, as in `MarkingDecoder`, and each other byte is the
character of its number, so that no token holds a part of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import llguidance


def bytewise(text: str) -> str:
    """A text whose tags are marks, in the same form."""
    return "".join(each if "\ud800" <= each <= "\udfff" else each.encode().decode("latin-1") for each in text)


class VocabularyTexts:
    """Of one vocabulary. `marks`: of some token ids, what they are instead. Any thread may use it."""

    def __init__(
        self, tokens: Sequence[bytes], marks: Mapping[int, str], library: llguidance.LLTokenizer
    ) -> None:
        self.size = len(tokens)
        self._texts = [marks.get(token_id, data.decode("latin-1")) for token_id, data in enumerate(tokens)]
        self._library = library
        self._beginning: dict[str, list[int]] = {}
        self._holding: dict[str, list[int]] = {}

    def of(self, token_id: int) -> str:
        """What the token is."""
        return self._texts[token_id]

    def beginning(self, text: str) -> list[int]:
        """The tokens that begin with the text, and hold more."""
        if text not in self._beginning:
            self._beginning[text] = [
                number for number, each in enumerate(self._texts) if len(each) > len(text) and each.startswith(text)
            ]
        return self._beginning[text]

    def holding(self, text: str) -> list[int]:
        """The tokens that hold the text, and something behind it."""
        if text not in self._holding:
            self._holding[text] = [number for number, each in enumerate(self._texts) if text in each[: len(each) - 1]]
        return self._holding[text]

    def ids(self, text: str) -> list[int] | None:
        """Tokens that spell the text; None where it is no text, or holds tags that are tokens."""
        try:
            spelled = text.encode("latin-1").decode()
        except UnicodeError:
            return None
        found: list[int] = self._library.greedy_tokenize(spelled)
        return found
