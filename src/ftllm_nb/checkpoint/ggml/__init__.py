"""ggml's block types, in which GGUF files hold matrices: what their bytes stand for, in NumPy.

A row of a matrix is a run of blocks; each holds neighbouring numbers and the scales that they share.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import families
from ftllm_nb.checkpoint.ggml.block_type import BlockType

_NUMBERS_AT_ONCE = 1 << 20


@functools.cache
def block_types() -> dict[str, BlockType]:
    """The known types, by the names that GGUF gives them ("Q4_K")."""
    found: dict[str, BlockType] = {}
    for module in sorted(pkgutil.iter_modules(families.__path__), key=lambda module: module.name):
        for type in importlib.import_module(f"{families.__name__}.{module.name}").TYPES:
            found[type.name] = type
    return found


def dequantize(name: str, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The float32 numbers [rows, columns] of a matrix of the type `name`, uint8 [rows, bytes of a row].

    Bit for bit what the `gguf` package makes of them. Beside the result it takes memory for some rows.
    """
    type = block_types()[name]
    rows, row_bytes = raw.shape
    blocks = row_bytes // type.nbytes
    out = np.empty((rows, blocks * type.columns), np.float32)
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, out.shape[1]))
    for first in range(0, rows, at_once):
        part = np.ascontiguousarray(raw[first : first + at_once]).reshape(-1, type.nbytes)
        _stand_for(type, part, out[first : first + at_once].reshape(len(part), type.columns))
    return out


def _stand_for(type: BlockType, blocks: NDArray[np.uint8], out: NDArray[Any]) -> None:
    """Write what some blocks stand for, float32 [blocks, columns]."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite stays so, and is found by who uses it
        found = type.decode(blocks)
        scales = found.scales[..., None]
        groups = out.reshape(*found.scales.shape, -1)
        np.multiply(scales, found.numbers.reshape(groups.shape), out=groups, dtype=np.float32)
        if found.minimums is not None:
            groups -= found.minimums[..., None]
