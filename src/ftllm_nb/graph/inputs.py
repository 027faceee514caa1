"""The inputs of a graph: what `data[…]` means before any operator has written it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.types import MARKER, Symbol, TensorType

if TYPE_CHECKING:
    from ftllm_nb.graph.rope import RopeSettings

LOGITS = "logits"
CACHE_PREFIXES = ("pastKey", "pastValue", "pastState")
_TABLES = ("sin", "cos")
_MAX_POSITIONS = 2**31 - 1  # positionIds are int32

_FIXED = {
    "inputIds": TensorType((1, Symbol.TOKENS), "int32"),
    "positionIds": TensorType((1, Symbol.TOKENS), "int32"),
    "attentionMask": TensorType((1, Symbol.TOKENS, Symbol.CACHED), MARKER),
    "atype": TensorType((), MARKER),
    "seqLens": TensorType((Symbol.SEQUENCES,), "int32"),
}
INPUT_NAMES = (*_FIXED, *_TABLES)
"""The inputs that are no caches, but for tables of a name of their own."""


def is_input(name: str) -> bool:
    """Whether this names an input: one that an operator may read and none may write."""
    return name in _FIXED or rope_table(name) is not None or is_cache(name)


def rope_table(name: str) -> tuple[str, str] | None:
    """("sin" or "cos", the table's name) of `sin`, which is that of all layers, or of `sin.NAME`; None for others."""
    function, dot, table = name.partition(".")
    return (function, table) if function in _TABLES and bool(dot) == bool(table) else None


def mixed_tables(sin: str, cos: str) -> str | None:
    """What is wrong with inputs of these names as sines and cosines; None where nothing is, or one is no table."""
    sines, cosines = rope_table(sin), rope_table(cos)
    if sines is None or cosines is None or (sines[0], cosines[0], sines[1]) == ("sin", "cos", cosines[1]):
        return None
    pair = f'data["{sin}"] as "sin" and data["{cos}"] as "cos"'
    return f'takes a table of sines and the table of cosines of the same name, but got {pair}.'


def is_cache(name: str) -> bool:
    """Whether this names what is kept of a sequence: a layer's keys or values, or an operator's state."""
    return name.startswith(CACHE_PREFIXES)


def cache_layer(name: str) -> int | None:
    """The layer of a cache: the first integer in its name."""
    match = re.search(r"\d+", name)
    return int(match.group()) if match else None


def input_type(name: str, max_positions: int, rope: Callable[[str], RopeSettings]) -> TensorType:
    """The type of an input that is no cache; `rope` gives the table of a name, "" that of all layers."""
    table = rope_table(name)
    if table is not None:
        return TensorType((max_positions, rope(table[1]).angles))
    return _FIXED[name]


def find_max_positions(config: Mapping[str, Any]) -> int | None:
    """The longest sequence: `max_positions`, else `max_position_embeddings`; None where neither is set.

    Raises `GraphError` for a value that is no positive whole number, or too large for a position.
    """
    for name in ("max_positions", "max_position_embeddings"):
        number = config.get(name)
        if number is None:
            continue
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise GraphError(f'config["{name}"] must be a positive whole number, but it is {shown(number)}.')
        if number > _MAX_POSITIONS:
            raise GraphError(f'config["{name}"] must be at most {_MAX_POSITIONS}, but it is {shown(number)}.')
        return number
    return None
