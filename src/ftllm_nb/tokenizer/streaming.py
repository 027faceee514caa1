"""Text from token ids as they come: never half a character, at a constant cost a token."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Container, Sequence
from typing import Protocol

REPLACEMENT = "\ufffd"
MAX_WINDOW_TOKENS = 16
"""Longest run of tokens that a window holds back in the hope that its last character becomes complete."""


class StreamDecoder(Protocol):
    """Turns ids into text one by one. All `push`es and `finish` together are `Tokenizer.decode(ids)`."""

    def push(self, token_id: int) -> str:
        """The text that `token_id` makes certain: possibly "", never part of a character."""
        ...

    def finish(self) -> str:
        """What is left when no more ids come; an incomplete character becomes U+FFFD."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """What the token stands for inside a text: possibly a part of a character; b"" for ids that give none."""
        ...


TokenText = Callable[[int], "str | None"]
"""A token by id, as the vocabulary spells it; None for special and unknown ids, which give no text."""


class ByteLevelStream:
    """Detokenizer of byte-level BPE: each character of a token stands for one byte, but for those of `plain` ids."""

    def __init__(self, token_text: TokenText, plain: Container[int] = ()) -> None:
        self._token_text = token_text
        self._plain = plain
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """See StreamDecoder."""
        return self._utf8.decode(self.token_bytes(token_id))

    def finish(self) -> str:
        """See StreamDecoder."""
        return self._utf8.decode(b"", final=True)

    def token_bytes(self, token_id: int) -> bytes:
        """See StreamDecoder."""
        text = self._token_text(token_id) or ""
        return text.encode() if token_id in self._plain else _byte_level_bytes(text)


class ByteFallbackStream:
    """Detokenizer of sentencepiece vocabularies: "▁" is a space, and `<0xE4>` one byte of a character.

    `strip_leading_space` drops one space at the start of the answer, which the encoder would have added.
    """

    def __init__(self, token_text: TokenText, strip_leading_space: bool) -> None:
        self._token_text = token_text
        self._strip = strip_leading_space
        self._bytes = b""

    def push(self, token_id: int) -> str:
        """See StreamDecoder."""
        text = self._token_text(token_id)
        if not text:
            return ""
        byte = _byte_of(text)
        if byte is not None:
            self._bytes += byte
            return self._without_leading_space(self._complete_characters())
        return self._without_leading_space(self._flush() + text.replace("▁", " "))

    def finish(self) -> str:
        """See StreamDecoder."""
        return self._without_leading_space(self._flush())

    def token_bytes(self, token_id: int) -> bytes:
        """See StreamDecoder."""
        text = self._token_text(token_id) or ""
        return _byte_of(text) or text.replace("▁", " ").encode()

    def _complete_characters(self) -> str:
        """Takes the complete characters from the pending bytes; a byte that can start none becomes U+FFFD."""
        text = ""
        while self._bytes:
            try:
                complete, self._bytes = self._bytes.decode("utf-8"), b""
                return text + complete
            except UnicodeDecodeError as error:
                text += self._bytes[: error.start].decode("utf-8")
                self._bytes = self._bytes[error.start :]
                if error.reason == "unexpected end of data":
                    return text
                text += REPLACEMENT
                self._bytes = self._bytes[1:]
        return text

    def _flush(self) -> str:
        """The pending bytes as text; an incomplete character becomes one U+FFFD a byte."""
        text, self._bytes = REPLACEMENT * len(self._bytes), b""
        return text

    def _without_leading_space(self, text: str) -> str:
        if self._strip and text:
            self._strip = False
            return text.removeprefix(" ")
        return text


class WindowStream:
    """Detokenizer for any other decoder: decodes the last few ids again with each new one.

    The window starts where text was last certain, so the decoder sees the context that spacing needs.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown_ids = 0

    def push(self, token_id: int) -> str:
        """See StreamDecoder."""
        self._window.append(token_id)
        shown = self._decode(self._window[: self._shown_ids])
        text = self._decode(self._window)
        if text.endswith(REPLACEMENT) and len(self._window) - self._shown_ids < MAX_WINDOW_TOKENS:
            return ""
        if len(text) > len(shown):
            self._window = self._window[self._shown_ids :]
            self._shown_ids = len(self._window)
        return text[len(shown) :]

    def finish(self) -> str:
        """See StreamDecoder."""
        rest = self._decode(self._window)[len(self._decode(self._window[: self._shown_ids])) :]
        self._shown_ids = len(self._window)
        return rest

    def token_bytes(self, token_id: int) -> bytes:
        """See StreamDecoder."""
        return self._decode([token_id]).encode()


def _byte_level_alphabet() -> dict[str, int]:
    """Character to byte: printable Latin-1 stands for itself, other bytes for U+0100 and following."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return alphabet


_BYTE_OF_CHARACTER = _byte_level_alphabet()


def _byte_level_bytes(text: str) -> bytes:
    """The bytes that a byte-level token stands for; a token outside the alphabet is its own UTF-8."""
    try:
        return bytes([_BYTE_OF_CHARACTER[character] for character in text])
    except KeyError:
        return text.encode("utf-8", "replace")


def _byte_of(text: str) -> bytes | None:
    """The byte that a `<0xE4>` token stands for, None for other tokens."""
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        try:
            return bytes([int(text[3:5], 16)])
        except ValueError:
            return None
    return None
