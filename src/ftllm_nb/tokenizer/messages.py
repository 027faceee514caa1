"""Conversations as they come from users and programs, made safe for templates and tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten

REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""Names that programs pass a message's reasoning under; templates read the first, some the second."""

MAX_DEPTH = 64


def without_surrogates(text: str) -> str:
    """`text` with lone surrogates, the bytes that a terminal could not decode, as U+FFFD; pairs join."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def checked_messages(messages: object) -> list[dict[str, Any]]:
    """Copies of `messages` in plain JSON types, without keys whose value is None.

    TokenizerError where they are no list of {"role": str, "content": str or list of parts, …}, or empty.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        raise TokenizerError(
            f"a conversation must be a list of at least one message, got {shorten(messages)}."
        )
    return [_checked_message(message, index) for index, message in enumerate(messages)]


def plain_data(value: Any, depth: int = 0) -> Any:
    """`value` rebuilt from JSON types, so that a template meets no object with methods of its own."""
    if depth > MAX_DEPTH:
        raise TokenizerError(f"a message is nested more than {MAX_DEPTH} levels deep.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return without_surrogates(str.__str__(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {plain_data(key, depth + 1): plain_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item, depth + 1) for item in value]
    raise TokenizerError(f"a message may hold text, numbers, lists and objects, not {type(value).__name__}.")


def text_content(message: Mapping[str, Any]) -> str:
    """A message's text; the texts of its parts joined where its content is a list; "" where it has none."""
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    return "".join(
        part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def _checked_message(message: object, index: int) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise TokenizerError(
            f"message {index} must be an object with role and content, got {shorten(message)}."
        )
    plain: dict[str, Any] = {key: value for key, value in plain_data(message).items() if value is not None}
    if not isinstance(plain.get("role"), str) or not plain["role"]:
        raise TokenizerError(
            f'message {index} must have a role such as "user", got {shorten(plain.get("role"))}.'
        )
    if not isinstance(plain.get("content", ""), (str, list)):
        raise TokenizerError(
            f"message {index}: content must be a text or a list of parts, got {shorten(plain['content'])}."
        )
    reasoning = next((plain[name] for name in REASONING_FIELDS if name in plain), None)
    if reasoning is not None:
        plain = {"thinking": reasoning, **plain, "reasoning_content": reasoning}
    return plain
