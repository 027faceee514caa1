"""Logprobs as chats and as completions want them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from ftllm_nb.engine.logprobs import TokenLogprobs
from ftllm_nb.engine.request import Token
from ftllm_nb.tokenizer import Tokenizer


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[Token]) -> dict[str, Any]:
    """{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}."""
    entries = []
    for token in tokens:
        assert token.logprobs is not None
        top = [_entry(tokenizer, token_id, logprob) for token_id, logprob in token.logprobs.top]
        entries.append({**_entry(tokenizer, token.token_id, token.logprobs.logprob), "top_logprobs": top})
    return {"content": entries, "refusal": None}


class TextOffsets:
    """Where an answer's tokens begin in its text, asked in their order. `start`: characters before the answer."""

    def __init__(self, tokenizer: Tokenizer, start: int = 0) -> None:
        self._decoder = tokenizer.stream_decoder()
        self._length = start

    def next(self, token_id: int) -> int:
        """Characters before this token; a part of a character begins where the character does."""
        offset = self._length
        self._length += len(self._decoder.push(token_id))
        return offset


def prompt_offsets(tokenizer: Tokenizer, token_ids: Sequence[int], text: str) -> list[int]:
    """The same for a prompt, whose text spells control tokens, too, but none that the tokenizer put before it, nor the
    space that some tokenizers do."""
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    offsets, length = [], 0
    for token_id in token_ids:
        offsets.append(length)
        length += len(utf8.decode(tokenizer.token_bytes(token_id)))
    before = length + len(utf8.decode(b"", final=True)) - len(text)
    return [max(0, offset - before) for offset in offsets]


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[tuple[int, TokenLogprobs | None]], offsets: Sequence[int]
) -> dict[str, list[Any]]:
    """{"tokens", "token_logprobs", "top_logprobs", "text_offset"} of (token id, logprobs), which are None for a
    prompt's first token. The chosen token is among the top ones, also where it was not likely."""
    found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for (token_id, logprobs), offset in zip(tokens, offsets, strict=True):
        text = _text(tokenizer, token_id)
        top = None
        if logprobs is not None:
            top = {_text(tokenizer, each): logprob for each, logprob in logprobs.top}
            top.setdefault(text, logprobs.logprob)
        found["tokens"].append(text)
        found["token_logprobs"].append(None if logprobs is None else logprobs.logprob)
        found["top_logprobs"].append(top)
        found["text_offset"].append(offset)
    return found


def _entry(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    data = tokenizer.token_bytes(token_id)
    return {"token": data.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(data)}


def _text(tokenizer: Tokenizer, token_id: int) -> str:
    """A part of a character is spelled as OpenAI does: bytes:\\xe4."""
    data = tokenizer.token_bytes(token_id)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
