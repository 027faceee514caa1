"""From token ids to pieces of text that may be sent: no half character, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftllm_nb.engine.request import Token
from ftllm_nb.tokenizer.streaming import StreamDecoder


@dataclass
class Piece:
    """New text, and the tokens that end in it or before it and were in no earlier piece."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)


class TextPieces:
    """Holds text back while it may be the beginning of a stop string; the string itself is left out.

    `min_tokens`: a stop string that ends before so many tokens have come is text like any other.
    """

    def __init__(self, decoder: StreamDecoder, stop_strings: Sequence[str], min_tokens: int = 0) -> None:
        self._decoder = decoder
        self._must_go_on = min_tokens
        self._stop_strings = list(stop_strings)
        self._held = ""
        # Tokens not sent yet, each with how much of the held text lies before its end.
        self._tokens: list[tuple[int, Token]] = []
        self.stopped = False
        """Whether a stop string was found: nothing more comes."""

    def push(self, token: Token) -> Piece:
        """What the token makes certain."""
        self._must_go_on -= 1
        return self._add(self._decoder.push(token.token_id), [token])

    def finish(self) -> Piece:
        """What was held back, when no more tokens come."""
        if self.stopped:
            return Piece()
        piece = self._add(self._decoder.finish(), [])
        if not self.stopped:
            piece.text += self._held
            piece.tokens += [token for _, token in self._tokens]
            self._held, self._tokens = "", []
        return piece

    def _add(self, text: str, tokens: list[Token]) -> Piece:
        searched_from = max(0, len(self._held) - max(map(len, self._stop_strings), default=0) + 1)
        self._held += text
        self._tokens += [(len(self._held), token) for token in tokens]
        if self._must_go_on > 0:
            return self._release(len(self._held))
        found = [at for stop in self._stop_strings if (at := self._held.find(stop, searched_from)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._possible_beginning())

    def _possible_beginning(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        most = max((len(stop) - 1 for stop in self._stop_strings), default=0)
        for length in range(min(most, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(len(stop) > length and stop.startswith(end) for stop in self._stop_strings):
                return length
        return 0

    def _release(self, length: int) -> Piece:
        ready = [token for end, token in self._tokens if end <= length]
        self._tokens = [(end - length, token) for end, token in self._tokens if end > length]
        piece = Piece(self._held[:length], ready)
        self._held = self._held[length:]
        return piece
