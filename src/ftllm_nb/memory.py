"""Memory that kernels can use: aligned, zeroed, and not touched before it is needed."""

from __future__ import annotations

import mmap
from pathlib import Path

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
    """Hands out memory that is never given back singly: `aligned_bytes` from large pages where the system has them."""

    def __init__(self) -> None:
        self._slab: NDArray[np.uint8] = np.empty(0, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        """`size` zero bytes at a multiple of 64. Raises MemoryError."""
        if size > len(self._slab):
            self._slab = _large_pages(max(size, SLAB_BYTES))
        taken = self._slab[:size]
        self._slab = self._slab[-(-size // ALIGNMENT) * ALIGNMENT :]
        return taken


def _private_mapping(size: int) -> mmap.mmap:
    """Anonymous memory of this process alone: shared memory has no large pages."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def _large_pages(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes, rounded up, that begin with a large page."""
    size = -(-size // _HUGE_PAGE) * _HUGE_PAGE
    try:
        mapping = _private_mapping(size + _HUGE_PAGE)
    except (OSError, OverflowError, ValueError) as error:
        raise MemoryError(f"no {size} bytes are to be had") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            mapping.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass  # a kernel without large pages: small ones do as well
    memory = np.frombuffer(mapping, np.uint8)
    start = -memory.ctypes.data % _HUGE_PAGE
    return memory[start : start + size]


def available_bytes() -> int:
    """Memory that this process may still take: what the system has free, within the limits of its control group."""
    free = _system_bytes("MemAvailable")
    limit, used = _control_group_bytes("memory.max"), _control_group_bytes("memory.current")
    sizes = [_SIZE_WHERE_UNKNOWN if free is None else free]
    if limit is not None and used is not None:
        sizes.append(limit - used)
    return max(0, min(sizes))


def obtainable_bytes() -> int | None:
    """More than this the process cannot get, whatever else gives way; None where the system does not say.

    Other programs' pages may go to swap space, and the control group's files out of memory.
    """
    free, swap, limit = _system_bytes("MemAvailable"), _system_bytes("SwapFree"), _control_group_bytes("memory.max")
    if free is None or swap is None:
        return limit
    return free + swap if limit is None else min(free + swap, limit)


_SIZE_WHERE_UNKNOWN = 4 << 30


def _system_bytes(field: str) -> int | None:
    """A field of Linux' description of its memory."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields[field].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


def _control_group_bytes(name: str) -> int | None:
    """A size in bytes that the control group has, None where there is none, or no limit."""
    try:
        return int((Path("/sys/fs/cgroup") / name).read_text())
    except (OSError, ValueError):
        return None
