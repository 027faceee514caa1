"""Logprobs as chats and as completions want them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def completion_logprobs(tokenizer: Tokenizer, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """{"tokens", "token_logprobs", "top_logprobs", "text_offset"}; `offset`: characters of text before them."""
    found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        assert token.logprobs is not None
        text = _text(tokenizer, token.token_id)
        found["tokens"].append(text)
        found["token_logprobs"].append(token.logprobs.logprob)
        found["top_logprobs"].append(
            {_text(tokenizer, token_id): logprob for token_id, logprob in token.logprobs.top}
        )
        found["text_offset"].append(offset)
        offset += len(text)
    return dict(found)


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
