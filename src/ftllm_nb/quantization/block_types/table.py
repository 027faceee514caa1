"""Types whose numbers are places in a table of 16.

IQ4_NL has a float16 scale for 32 columns: `rtn` makes the largest magnitude the table's largest, `mse` searches 16
scales of each sign. MXFP4's scale is a power of two: `rtn` takes the one that the `gguf` package takes, with which the
largest magnitude is within the table or cut off by less than a quarter, `mse` the best of that and its neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml.families.table import FP4, IQ4
from ftllm_nb.quantization.block_types.base import (
    Bytes,
    Floats,
    WrittenType,
    as_half,
    found_by,
    inverse,
    packed,
    signed_largest,
)
from ftllm_nb.quantization.block_types.search import nearest_entries, search_table_scales

COLUMNS = 32
TRIED = 16
_IQ4 = np.array(IQ4, np.float32)
_FP4 = np.array(FP4[:8], np.float32)
"""The magnitudes; the other half are the same numbers below 0."""


def _entries(blocks: Floats, factor: Floats, table: Floats) -> Floats:
    """The nearest entries of a table to blocks times a factor [blocks, 1]."""
    found = np.empty_like(blocks)
    factor = np.ascontiguousarray(factor, np.float32)
    nearest_entries(
        blocks.ctypes.data, factor.ctypes.data, len(blocks), blocks.shape[1], table.ctypes.data, len(table),
        found.ctypes.data,
    )  # fmt: skip
    return found


def _iq4(blocks: Floats, scales: Floats) -> Bytes:
    scales, stored = as_half(scales)
    places = np.searchsorted(_IQ4, _entries(blocks, inverse(scales), _IQ4)).astype(np.uint8)
    return np.concatenate([stored, packed(places, 4, 16)], axis=-1)


def _iq4_places(blocks: Bytes, places: Bytes) -> Bytes:
    return np.concatenate([blocks[:, :2], packed(places, 4, 16)], axis=-1)


def _nearest_iq4(blocks: Floats, importance: Floats | None) -> Bytes:
    return _iq4(blocks, signed_largest(blocks) / _IQ4[0])


def _searched_iq4(blocks: Floats, importance: Floats | None) -> Bytes:
    settings = (_IQ4.ctypes.data, len(_IQ4), 105.0, 2.5, TRIED)
    return _iq4(blocks, found_by(search_table_scales, blocks, importance, *settings)[0])


def _exponents(blocks: Floats) -> NDArray[Any]:
    """The byte of the scale with which the largest magnitude is one of the table's upper numbers."""
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    _, exponent = np.frexp(largest)
    return np.where(largest > 0, np.clip(exponent - 1 - 2 + 127, 0, 254), 0)


def _fp4(blocks: Floats, exponents: NDArray[Any]) -> tuple[Floats, Bytes]:
    """What is left of blocks, and their bytes, with these exponents [blocks, 1]."""
    scales = np.ldexp(np.float32(1), exponents - 128).astype(np.float32)
    sizes = _entries(np.abs(blocks), inverse(scales), _FP4)
    places = np.searchsorted(_FP4, sizes).astype(np.uint8)
    places |= ((blocks < 0) & (places > 0)).astype(np.uint8) << np.uint8(3)
    off = np.abs(blocks) - sizes * scales
    return off, np.concatenate([exponents.astype(np.uint8), packed(places, 4, 16)], axis=-1)


def _nearest_fp4(blocks: Floats, importance: Floats | None) -> Bytes:
    return _fp4(blocks, _exponents(blocks))[1]


def _searched_fp4(blocks: Floats, importance: Floats | None) -> Bytes:
    sizes = np.abs(blocks)
    counted = sizes + np.sqrt((blocks * blocks).mean(axis=-1, keepdims=True))
    if importance is not None:
        counted *= importance
    first = _exponents(blocks)
    off, best = _fp4(blocks, first)
    least = (counted * off * off).sum(axis=-1, keepdims=True)
    for beside in (-1, 1):
        off, made = _fp4(blocks, np.clip(first + beside, 0, 254))
        error = (counted * off * off).sum(axis=-1, keepdims=True)
        best = np.where(error < least, made, best)
        least = np.minimum(error, least)
    return best


TYPES = (
    WrittenType(
        "IQ4_NL", COLUMNS, 18, 25, {"rtn": _nearest_iq4, "mse": _searched_iq4},
        {"rtn": (nearest_entries,), "mse": (search_table_scales, nearest_entries)}, scale_at=0, narrower="F16",
        levels=tuple(map(float, IQ4)), group=COLUMNS, with_places=_iq4_places,
    ),
    WrittenType(
        "MXFP4", COLUMNS, 17, 38, {"rtn": _nearest_fp4, "mse": _searched_fp4},
        {"rtn": (nearest_entries,), "mse": (nearest_entries,)}, narrower="F16",
    ),
)  # fmt: skip
