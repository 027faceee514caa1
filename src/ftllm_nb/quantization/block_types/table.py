"""Types whose numbers are places in a table of 16.

IQ4_NL has a float16 scale for 32 columns, and IQ4_XS one for 256, which whole-number scales of 32 multiply: `rtn` makes
the largest magnitude the table's largest. MXFP4's scale is a power of two: `rtn` takes the one that the `gguf` package
takes, with which the largest magnitude is within the table or cut off by less than a quarter.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml.families.table import FP4, FP4_RISING, IQ4
from ftllm_nb.quantization.block_types.base import (
    Bytes,
    Floats,
    WrittenType,
    as_half,
    inverse,
    packed,
    signed_largest,
)

COLUMNS, SUPER_COLUMNS = 32, 256
_IQ4, _FP4 = np.array(IQ4, np.float32), np.array(FP4[:8], np.float32)
_RISING = np.array(FP4_RISING, np.uint8)


def _places(quotients: Floats, table: Floats) -> Bytes:
    """The places of the nearest numbers of a rising table."""
    return np.searchsorted((table[1:] + table[:-1]) / 2, quotients).astype(np.uint8)


def _nearest_iq4_nl(blocks: Floats) -> Bytes:
    scales, stored = as_half(signed_largest(blocks) / _IQ4[0])
    return np.concatenate([stored, packed(_places(blocks * inverse(scales), _IQ4), 4, 16)], axis=-1)


def _nearest_iq4_xs(blocks: Floats) -> Bytes:
    groups = blocks.reshape(len(blocks), -1, COLUMNS)
    scales = (signed_largest(groups) / _IQ4[0])[..., 0]
    shared, stored = as_half(signed_largest(scales) / np.float32(-32))
    whole = np.clip(np.rint(scales * inverse(shared)), -32, 31)
    places = _places(groups * inverse((shared * whole).astype(np.float32))[..., None], _IQ4)
    codes = (whole + 32).astype(np.uint8)
    upper = packed(codes >> np.uint8(4), 2, 1)
    head = [stored, upper, packed(codes & np.uint8(15), 4, 1)]
    return np.concatenate([*head, packed(places.reshape(blocks.shape), 4, 16)], axis=-1)


def _nearest_fp4(blocks: Floats) -> Bytes:
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    _, exponent = np.frexp(largest)
    exponents = np.where(largest > 0, np.clip(exponent - 1 - 2 + 127, 0, 254), 0)
    scales = np.ldexp(np.float32(1), exponents - 128).astype(np.float32)
    places = _places(np.abs(blocks) * inverse(scales), _FP4)
    places |= ((blocks < 0) & (places > 0)).astype(np.uint8) << np.uint8(3)
    return np.concatenate([exponents.astype(np.uint8), packed(places, 4, 16)], axis=-1)


def _with_places(head: int, table: NDArray[np.uint8], blocks: Bytes, places: Bytes) -> Bytes:
    """`head`: bytes of what comes before the numbers; `table`: the bits of each level."""
    return np.concatenate([blocks[:, :head], packed(table[places], 4, 16)], axis=-1)


_AS_THEY_ARE = np.arange(16, dtype=np.uint8)
_IQ4_LEVELS, _FP4_LEVELS = tuple(map(float, IQ4)), tuple(float(FP4[place]) for place in FP4_RISING)
TYPES = (
    WrittenType(
        "IQ4_NL", COLUMNS, 18, 25, _nearest_iq4_nl, scale_at=0, narrower="F16", levels=_IQ4_LEVELS, group=COLUMNS,
        with_places=partial(_with_places, 2, _AS_THEY_ARE),
    ),
    WrittenType(
        "IQ4_XS", SUPER_COLUMNS, 136, 30, _nearest_iq4_xs, scale_at=0, narrower="IQ4_NL", levels=_IQ4_LEVELS,
        group=COLUMNS, with_places=partial(_with_places, 8, _AS_THEY_ARE),
    ),
    WrittenType(
        "MXFP4", COLUMNS, 17, 38, _nearest_fp4, narrower="F16", levels=_FP4_LEVELS, group=COLUMNS,
        with_places=partial(_with_places, 1, _RISING),
    ),
)  # fmt: skip
