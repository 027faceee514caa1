"""The measurements behind loop_choice.py: loops as kernels have them, two ways in turns.

One core does it: how many loads a core keeps under way decides how it should fetch, and on few cores memory itself may
be what all wait for. A choice differs from the tier's usual one only where it is clearly faster. Other processes
disturb less what a thread's own time says, and of that the least.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ftllm_nb.kernels.blocks.matmul import TALL_TILE, panel_blocks, tall_is_possible, wide_tile
from ftllm_nb.kernels.blocks.scratch import ScratchLayout
from ftllm_nb.kernels.blocks.tile import packed_tile, unpacked_tile
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.emit import LINE_BYTES
from ftllm_nb.kernels.integer_matmul import integer_tiles
from ftllm_nb.kernels.loop_choice import LoopChoice, trying
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
_TOKENS, _SLABS = 48, 36
"""Of a measurement of tiles: multiples of both tiles' tokens and of their slabs."""
_FILL = 0x11
"""Every byte of weights and activations: small normal numbers in every type of scale."""


def measured_choice() -> LoopChoice:
    """What is faster on this machine; what is usual for the tier where there is no memory to measure with."""
    usual = current_tier().fetches_far
    try:
        weights = np.full(_BYTES, _FILL, np.uint8)
    except MemoryError:
        return LoopChoice(usual, usual)
    fetching = [_fetching_gain(make, weights) for make in (_integer_loop, _super_loop)]
    tall = _tall_gain() if tall_is_possible() else 0.0
    rows, units = (gain > _CLEARLY or (usual and gain > 1 / _CLEARLY) for gain in fetching)
    return LoopChoice(rows, units, tall > _CLEARLY, (round(fetching[0], 3), round(fetching[1], 3), round(tall, 3)))


def _fetching_gain(make: Callable[[str], tuple[Kernel, Callable[[int], int]]], weights: Any) -> float:
    """How many times as fast the loop is that fetches far ahead."""
    loops = []
    for far in (False, True):
        with trying(LoopChoice(far, far)):
            loop, block_bytes = make("far" if far else "near")
            loops.append(loop)
            loop.address  # noqa: B018  (the property compiles)
    x = np.full(8 * max(_COLUMNS) + 4096, _FILL, np.uint8)
    out = np.zeros(16 * (_PASS_BYTES // block_bytes(min(_COLUMNS)) + 1), np.float32)
    place = 0

    def read(loop: Kernel) -> None:
        nonlocal place
        for columns in _COLUMNS:
            if place + _PASS_BYTES > len(weights):
                place = 0
            blocks = _PASS_BYTES // block_bytes(columns)
            loop(weights.ctypes.data + place, blocks, x.ctypes.data, out.ctypes.data, columns)
            place += _PASS_BYTES

    return _times_as_fast(lambda: read(loops[0]), lambda: read(loops[1]))


def _tall_gain() -> float:
    """How many times as fast tall tiles of unpacked super-blocks are."""
    loops = [_tiles_loop(*shape) for shape in (wide_tile(), TALL_TILE)]
    memory = np.full(2**20, _FILL, np.uint8)
    out = np.zeros(2 * 16 * _TOKENS, np.float32)

    def multiply(loop: Kernel) -> None:
        loop(memory.ctypes.data, memory.ctypes.data + len(memory) // 2, out.ctypes.data)

    for loop in loops:
        loop.address  # noqa: B018
    return _times_as_fast(lambda: multiply(loops[0]), lambda: multiply(loops[1]))


def _times_as_fast(usual: Callable[[], None], other: Callable[[], None]) -> float:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * _ROUNDS + 2):
        which = (turn + turn // 2) % 2
        started = time.thread_time()
        (usual, other)[which]()
        if turn >= 2:  # the first two turns wake the core up
            times[which].append(time.thread_time() - started)
    return min(times[0]) / max(min(times[1]), 1e-9)


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


def _tiles_loop(tokens: int, blocks: int, slab_bytes: int) -> Kernel:
    """A loop over slabs of two blocks of Q6_K that are in the caches, and some tokens."""
    type = block_types()["Q6_K"]
    size = ScratchLayout(type).size
    units = max(1, slab_bytes // (blocks * size))
    columns, repeats = units * type.columns, _SLABS // units
    tile, x_stride = unpacked_tile(type, tokens, blocks), 2 * columns + LINE_BYTES

    @kernel(arguments=("int64",) * 3, variant=f"{tokens}", is_kept=False)
    def multiply_slabs(w, x, out):
        for _ in range(repeats):
            for block in range(0, 2, blocks):
                for row in range(0, _TOKENS, tokens):
                    values, place = x + row * x_stride, out + 128 * row + 64 * block
                    tile(w + block * units * size, units * size, values, values + columns, x_stride, place, 128, place,
                         128, units)  # fmt: skip

    return multiply_slabs
