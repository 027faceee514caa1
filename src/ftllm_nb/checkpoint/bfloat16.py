"""bfloat16 as its bits in uint16, which NumPy has no type for: the upper half of a float32's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def bfloat16_as_float32(bits: NDArray[Any]) -> NDArray[np.float32]:
    """bfloat16's bits, uint16, as floats."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_as_bfloat16(floats: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(floats).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(floats), np.uint16(0x7FC0), rounded)
