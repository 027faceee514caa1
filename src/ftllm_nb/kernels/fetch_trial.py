"""The measurement behind fetch_choice.py: a single token's loops over weights in memory, near and far in turns.

One core reads, since it is how many loads a core keeps under way that decides; on few cores memory itself may be what
all wait for, and then the choice hardly matters. A choice differs from the tier's usual one only where it is clearly
faster: measurements beside other processes are rough.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ftllm_nb.kernels.blocks.tile import packed_tile
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.fetch_choice import FetchChoice, trying
from ftllm_nb.kernels.integer_tile import integer_tile
from ftllm_nb.kernels.matmul_tile import FLOAT16
from ftllm_nb.kernels.tiers import current_tier

_BYTES = 160 * 2**20
"""Of the weights that are read: more than caches hold."""
_COLUMNS = (1024, 5120)
"""Short rows and long ones."""
_PASS_BYTES = 32 * 2**20
"""Read in one measurement of a loop."""
_ROUNDS = 7
_CLEARLY = 1.05
"""Times as fast."""
_ROWS, _BLOCKS, _GROUP, _SUPER_BLOCKS = 16, 4, 32, 2
_FILL = 0x11
"""Every byte of weights and activations: small normal numbers in every type of scale."""


def measured_choice() -> FetchChoice:
    """What is faster on this machine."""
    weights = np.full(_BYTES, _FILL, np.uint8)
    gains = tuple(_gain(make, weights) for make in (_integer_loop, _super_loop))
    usual = current_tier().fetches_far
    rows, units = (gain > _CLEARLY or (usual and gain > 1 / _CLEARLY) for gain in gains)
    return FetchChoice(rows, units, (round(gains[0], 3), round(gains[1], 3)))


def _gain(make: Callable[[str], tuple[Kernel, Callable[[int], int]]], weights: Any) -> float:
    """How many times as fast the loop is that fetches far ahead."""
    loops = []
    for far in (False, True):
        with trying(FetchChoice(far, far)):
            loop, panel_bytes = make("far" if far else "near")
            loops.append(loop)
            loop.address  # noqa: B018  (the property compiles)
    times: tuple[list[float], list[float]] = ([], [])
    place = 0
    for turn in range(2 * _ROUNDS + 2):
        which = (turn + turn // 2) % 2
        taken = 0.0
        for columns in _COLUMNS:
            size = panel_bytes(columns)
            panels = _PASS_BYTES // len(_COLUMNS) // size
            if place + panels * size > _BYTES:
                place = 0
            x = np.full(8 * columns + 4096, _FILL, np.uint8)
            out = np.zeros(_ROWS * _BLOCKS, np.float32)
            started = time.perf_counter()
            loops[which](weights.ctypes.data + place, panels, x.ctypes.data, out.ctypes.data, columns)
            taken += time.perf_counter() - started
            place += panels * size
        if turn >= 2:  # the first two turns wake the core up
            times[which].append(taken)
    return statistics.median(near / far for near, far in zip(*times, strict=True))


def _integer_loop(variant: str) -> tuple[Kernel, Callable[[int], int]]:
    """A loop over panels of 4-bit weights in groups of 32, and the bytes of a panel of so many columns."""

    @kernel(arguments=("int64",) * 5, variant=variant, is_kept=False)
    def read_integers(w, panels, x, out, columns):
        stride = columns * 8 + columns // _GROUP * 32
        scales = columns * 8
        for panel in range(panels):
            place = w + panel * _BLOCKS * stride
            integer_tile(place, stride, place + scales, place + stride, stride, x, x + columns, 0, out, 0, out, 0,
                         columns, 0, 0, 1, 1, _BLOCKS, 4, 0, _GROUP, 0, FLOAT16)  # fmt: skip

    return read_integers, lambda columns: _BLOCKS * (columns * 8 + columns // _GROUP * 32)


def _super_loop(variant: str) -> tuple[Kernel, Callable[[int], int]]:
    """The same of Q6_K."""
    type = block_types()["Q6_K"]
    tile, unit_bytes, unit_columns = packed_tile(type, 1, _SUPER_BLOCKS), type.unit_bytes, type.columns

    @kernel(arguments=("int64",) * 5, variant=variant, is_kept=False)
    def read_units(w, panels, x, out, columns):
        units = columns // unit_columns
        stride = units * unit_bytes
        for panel in range(panels):
            tile(w + panel * _SUPER_BLOCKS * stride, stride, x, x + columns, 0, out, 0, out, 0, units)

    return read_units, lambda columns: _SUPER_BLOCKS * columns // unit_columns * unit_bytes
