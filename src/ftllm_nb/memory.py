"""Memory that kernels can use: aligned, zeroed, and not touched before it is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes of a cache line and of the widest vector."""


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes that begin at a multiple of 64; pages that nobody writes cost no memory."""
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]
