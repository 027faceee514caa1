"""Values of a GGUF file's metadata, with their kinds checked: every mistake is one sentence that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten

_NO_ID = (-1, 2**32 - 1)
"""What converters write for a token that there is not."""


class Metadata:
    """Key and value pairs of the file `where`: numbers, strings, flags, lists of strings, arrays of numbers."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    def text(self, key: str) -> str | None:
        """A string, None where the file has no such key."""
        value = self._values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.error(key, f"must be a string, not {shorten(value)}")

    def flag(self, key: str) -> bool | None:
        """True or false, None where the file has no such key."""
        value = self._values.get(key)
        if value is None or isinstance(value, (bool, np.bool_)):
            return None if value is None else bool(value)
        raise self.error(key, f"must be true or false, not {shorten(value)}")

    def token_id(self, key: str, tokens: int) -> int | None:
        """The id of one of `tokens` tokens, None where the file names none."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise self.error(key, f"must be a token's id, not {shorten(value)}")
        if int(value) in _NO_ID:
            return None
        if not 0 <= value < tokens:
            raise self.error(key, f"is {value}, and the file has {tokens} tokens")
        return int(value)

    def texts(self, key: str) -> list[str] | None:
        """A list of strings, None where the file has no such key."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, np.ndarray) and not value.size:
            return []
        if not isinstance(value, list) or not all(map(str.__instancecheck__, value)):
            raise self.error(key, "must be a list of strings")
        return value

    def numbers(self, key: str, tokens: int | None, kinds: str) -> np.ndarray | None:
        """Numbers whose NumPy kind is one of `kinds`, one for each of so many tokens, None where the file has none."""
        value = self._values.get(key)
        if value is None:
            return None
        array = np.asarray(value) if isinstance(value, (list, np.ndarray)) else None
        if array is None or array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
            raise self.error(key, f"must be a list of {'' if 'f' in kinds else 'whole '}numbers")
        if tokens is not None and len(array) != tokens:
            raise self.error(key, f"has {len(array)} values, and there are {tokens} tokens")
        return array

    def error(self, key: str, what: str) -> TokenizerError:
        """What is wrong with a key, as a sentence."""
        return TokenizerError(f"{self.where}: {key} {what}.")
