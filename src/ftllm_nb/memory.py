"""Memory that kernels can use: aligned, zeroed, and not touched before it is needed."""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes of a cache line and of the widest vector."""
SLAB_BYTES = 64 << 20
"""Weights are laid end to end in slabs of at least this size, so that large pages serve small matrices as well."""
_HUGE_PAGE = 2 << 20


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes that begin at a multiple of 64; pages that nobody writes cost no memory. Raises MemoryError."""
    try:
        memory = np.zeros(size + ALIGNMENT, np.uint8)
    except ValueError as error:  # more than any address can name
        raise MemoryError(str(error)) from error
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


class Slabs:
    """Hands out memory that is never given back singly: `aligned_bytes` from large pages where the system has them.

    `first`: zeroed memory to hand out before any other.
    """

    def __init__(self, first: NDArray[np.uint8] | None = None) -> None:
        self._slab = np.empty(0, np.uint8) if first is None else first

    def take(self, size: int) -> NDArray[np.uint8]:
        """`size` zero bytes at a multiple of 64. Raises MemoryError."""
        if size > len(self._slab):
            try:
                self._slab = large_pages(max(size, SLAB_BYTES))
            except MemoryError:
                self._slab = large_pages(size)  # where memory is short, no more than is asked for
        taken = self._slab[:size]
        self._slab = self._slab[-(-size // ALIGNMENT) * ALIGNMENT :]
        return taken


def _private_mapping(size: int) -> mmap.mmap:
    """Anonymous memory of this process alone: shared memory has no large pages."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def large_pages(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes, rounded up, that begin with a large page."""
    size = -(-size // _HUGE_PAGE) * _HUGE_PAGE
    try:
        mapping = _private_mapping(size + _HUGE_PAGE)
    except (OSError, OverflowError, ValueError) as error:
        raise MemoryError(f"no {size} bytes are to be had") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages: small ones do as well
            mapping.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(mapping, np.uint8)
    start = -memory.ctypes.data % _HUGE_PAGE
    return memory[start : start + size]
