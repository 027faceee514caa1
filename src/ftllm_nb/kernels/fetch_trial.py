"""The measurement behind fetch_choice.py: a single token's loops over weights in memory, near and far in turns.

One core reads, since it is how many loads a core keeps under way that decides; on few cores memory itself may be what
all wait for, and then the choice hardly matters. A choice differs from the tier's usual one only where it is clearly
faster. Other processes disturb less what a thread's own time says, and of that the least.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ftllm_nb.kernels.blocks.matmul import panel_blocks
from ftllm_nb.kernels.blocks.tile import packed_tile
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.fetch_choice import FetchChoice, trying
from ftllm_nb.kernels.integer_matmul import integer_tiles
from ftllm_nb.kernels.matmul_tile import FLOAT16
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import single_rows_by

_BYTES = 160 * 2**20
"""Of the weights that are read: more than caches hold."""
_COLUMNS = (1024, 5120)
"""Short rows and long ones."""
_PASS_BYTES = 16 * 2**20
"""Read at a time, in rows of one length."""
_ROUNDS = 7
_CLEARLY = 1.05
"""Times as fast."""
_GROUP = 32
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
            loop, block_bytes = make("far" if far else "near")
            loops.append(loop)
            loop.address  # noqa: B018  (the property compiles)
    times: tuple[list[float], list[float]] = ([], [])
    x = np.full(8 * max(_COLUMNS) + 4096, _FILL, np.uint8)
    out = np.zeros(16 * (_PASS_BYTES // block_bytes(min(_COLUMNS)) + 1), np.float32)
    place = 0
    for turn in range(2 * _ROUNDS + 2):
        which = (turn + turn // 2) % 2
        taken = 0.0
        for columns in _COLUMNS:
            blocks = _PASS_BYTES // block_bytes(columns)
            if place + _PASS_BYTES > len(weights):
                place = 0
            started = time.thread_time()
            loops[which](weights.ctypes.data + place, blocks, x.ctypes.data, out.ctypes.data, columns)
            taken += time.thread_time() - started
            place += _PASS_BYTES
        if turn >= 2:  # the first two turns wake the core up
            times[which].append(taken)
    return min(times[0]) / min(times[1])


def _integer_loop(variant: str) -> tuple[Kernel, Callable[[int], int]]:
    """A loop over blocks of 4-bit weights in groups of 32, and the bytes of a block of so many columns."""
    single = single_rows_by(integer_tiles(4, _GROUP, 0, FLOAT16)[0])

    @kernel(arguments=("int64",) * 5, variant=variant, is_kept=False)
    def read_integers(w, blocks, x, out, columns):
        stride = columns * 8 + columns // _GROUP * 32
        single(w, stride, blocks, x, 0, 0, 1, out, 0, out, 0, columns)

    return read_integers, lambda columns: columns * 8 + columns // _GROUP * 32


def _super_loop(variant: str) -> tuple[Kernel, Callable[[int], int]]:
    """The same of Q6_K."""
    type = block_types()["Q6_K"]
    step, unit_bytes, unit_columns = panel_blocks(type), type.unit_bytes, type.columns
    tile = packed_tile(type, 1, step)

    @kernel(arguments=("int64",) * 5, variant=variant, is_kept=False)
    def read_units(w, blocks, x, out, columns):
        units = columns // unit_columns
        stride = units * unit_bytes
        for block in range(0, blocks - step + 1, step):
            place = out + 64 * block
            tile(w + block * stride, stride, x, x + columns, 0, place, 0, place, 0, units)

    return read_units, lambda columns: columns // unit_columns * unit_bytes
