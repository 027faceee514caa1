"""Entries of config.json, checked as they are read: each wrong one is a sentence, and none gets a silent default.

Null is what absent is, as transformers writes what was never set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError

SMALLEST, LARGEST = 1e-20, 1e20
"""Of a positive number: what is made of two of them is a finite float32 still."""


def positive(source: Mapping[str, Any], name: str, why: str = "") -> float:
    """A number from SMALLEST to LARGEST. Raises `GraphError` for anything else; `why` says what needs it."""
    number = source.get(name)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < math.inf:
        raise GraphError(f"config.json's {name} must be a positive number{why}, but it is {shown(number)}.")
    if not SMALLEST <= number <= LARGEST:
        raise GraphError(
            f"config.json's {name} must be a number from {SMALLEST:g} to {LARGEST:g}{why}, but it is {number!r:.30}."
        )
    return float(number)


def positive_or(source: Mapping[str, Any], name: str, default: float) -> float:
    """The same, `default` where it is absent or null."""
    return default if source.get(name) is None else positive(source, name)


def positives_or(source: Mapping[str, Any], name: str, default: Sequence[float]) -> list[float]:
    """As many such numbers as `default` has, which are those where the entry is absent or null."""
    given = source.get(name)
    if given is None:
        return list(default)
    if not isinstance(given, list) or len(given) != len(default):
        raise GraphError(f"config.json's {name} must be a list of {len(default)} numbers, but it is {shown(given)}.")
    return [positive_or({name: each}, name, number) for each, number in zip(given, default, strict=True)]


def flag(source: Mapping[str, Any], name: str, default: bool) -> bool:
    """True or false. Raises `GraphError` for anything else."""
    value = source.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise GraphError(f"config.json's {name} must be true or false, but it is {shown(value)}.")
    return value


def whole(source: Mapping[str, Any], name: str, default: int, least: int = 1) -> int:
    """A whole number of at least `least`. Raises `GraphError` for anything else."""
    value = source.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise GraphError(f"config.json's {name} must be a whole number of at least {least}, but it is {shown(value)}.")
    return value


def layer_numbers(given: object, name: str, first: int, last: int) -> list[int]:
    """An entry's list of numbers of layers, of `first` to `last`. Raises `GraphError` for anything else."""
    if not isinstance(given, list) or not all(type(each) is int and first <= each <= last for each in given):
        raise GraphError(
            f"config.json's {name} must be a list of layers, of {first} to {last}, but it is {shown(given)}."
        )
    return given
