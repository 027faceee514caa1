"""Values as clients write them, made into the one form that the protocol checks; what is wrong is left for its check.

Each function is a validator that pydantic calls with what stands in the body.
"""

from __future__ import annotations

from typing import Any

NO_LIMIT = 2**31 - 1
"""More tokens than any context has."""
MOST_BIAS = 100.0


def whole(value: Any) -> Any:
    """4.0 is 4: languages without integers write numbers so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole_items(value: Any) -> Any:
    """The same for each item of a list."""
    if isinstance(value, list) and any(type(item) is float for item in value):
        return [whole(item) for item in value]
    return value


def token_limit(value: Any) -> Any:
    """A number of tokens; -1 (LM Studio's form) and -2 (llama.cpp's) are no limit."""
    value = whole(value)
    return NO_LIMIT if type(value) is int and value in (-1, -2) else value


def seed(value: Any) -> Any:
    """-1 is no seed."""
    value = whole(value)
    return None if type(value) is int and value == -1 else value


def logprobs(value: Any) -> Any:
    """A completion's are a number; true, as chats have it, is one."""
    return {True: 1, False: None}[value] if isinstance(value, bool) else whole(value)


def listed(value: Any) -> Any:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


def biases(value: Any) -> Any:
    """{"token id": bias}, also from llama.cpp's list of pairs, in which false forbids a token; at most ±100, which
    decides alone."""
    if isinstance(value, list):
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            raise ValueError("a list must hold pairs of a token id and a bias")
        value = {str(whole(token_id)): -MOST_BIAS if bias is False else bias for token_id, bias in value}
    if not isinstance(value, dict):
        return value
    if not all(isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10 for key in value):
        raise ValueError("the keys must be token ids")
    return {key: _bounded(bias) for key, bias in value.items()}


def _bounded(bias: Any) -> Any:
    is_number = isinstance(bias, (int, float)) and not isinstance(bias, bool) and bias == bias
    return max(-MOST_BIAS, min(MOST_BIAS, float(bias))) if is_number else bias
