"""The measurements behind loop_choice.py: loops as kernels have them, two ways in turns.

One core does it: how many loads a core keeps under way decides how it should fetch, and on few cores memory itself may
be what all wait for. A choice differs from the tier's usual one only where it is clearly faster. Other processes
disturb less what a thread's own time says, and of that the least.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ftllm_nb.kernels.blocks.matmul import TALL_TILE, panel_blocks, tall_is_possible, wide_tile
from ftllm_nb.kernels.blocks.scratch import ScratchLayout
from ftllm_nb.kernels.blocks.tile import packed_tile, unpacked_tile
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel, prepare
from ftllm_nb.kernels.emit import LINE_BYTES
from ftllm_nb.kernels.fetching import SHORT_ROWS_IN_STEP
from ftllm_nb.kernels.integer_tile import integer_tile
from ftllm_nb.kernels.loop_choice import LoopChoice, trying
from ftllm_nb.kernels.matmul_tile import FLOAT16
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS

_BYTES = 128 * 2**20
"""Of the weights that are read: more than caches hold."""
_COLUMNS, _BLOCKS = 1024, 1000
"""Of what is read at a time: fewer bytes than an eighth of those."""
_ROUNDS = 7
_CLEARLY = 1.05
"""Times as fast."""
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
    near, far = LoopChoice(False, False), LoopChoice(True, True)
    reading = [(make(near), make(far)) for make in (_integer_loop, _super_loop)]
    tiles = [_tiles_loop(*shape) for shape in (wide_tile(), TALL_TILE)] if tall_is_possible() else []
    loops = [loop for pair in (*reading, tiles) for loop in pair]
    prepare(loops)
    for loop in loops:
        loop.forget()
    rows_gain, units_gain = (_fetching_gain(weights, *pair) for pair in reading)
    tall_gain = _tall_gain(*tiles) if tiles else 0.0
    rows, units = (gain > _CLEARLY or (usual and gain > 1 / _CLEARLY) for gain in (rows_gain, units_gain))
    return LoopChoice(rows, units, tall_gain > _CLEARLY, (rows_gain, units_gain, tall_gain))


def _fetching_gain(weights: Any, near: Kernel, far: Kernel) -> float:
    """How many times as fast the loop is that fetches far ahead."""
    x = np.full(8 * _COLUMNS + 4096, _FILL, np.uint8)
    out = np.zeros(16 * _BLOCKS, np.float32)
    places = itertools.cycle(range(0, _BYTES, _BYTES // 8))

    def read(loop: Kernel) -> None:
        loop(weights.ctypes.data + next(places), _BLOCKS, x.ctypes.data, out.ctypes.data, _COLUMNS)

    return _times_as_fast(lambda: read(near), lambda: read(far))


def _tall_gain(wide: Kernel, tall: Kernel) -> float:
    """How many times as fast tall tiles of unpacked super-blocks are."""
    memory = np.full(2**20, _FILL, np.uint8)
    out = np.zeros(2 * 16 * _TOKENS, np.float32)

    def multiply(loop: Kernel) -> None:
        loop(memory.ctypes.data, memory.ctypes.data + len(memory) // 2, out.ctypes.data)

    return _times_as_fast(lambda: multiply(wide), lambda: multiply(tall))


def _times_as_fast(usual: Callable[[], None], other: Callable[[], None]) -> float:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * _ROUNDS + 2):
        which = (turn + turn // 2) % 2
        started = time.thread_time()
        (usual, other)[which]()
        if turn >= 2:  # the first two turns wake the core up
            times[which].append(time.thread_time() - started)
    return round(min(times[0]) / max(min(times[1]), 1e-9), 3)


def _integer_loop(choice: LoopChoice) -> Kernel:
    """A loop over blocks of short rows of 4-bit weights in groups of 32."""
    step = SHORT_ROWS_IN_STEP if choice.rows else PANEL_BLOCKS

    @kernel(arguments=("int64",) * 5, choice=choice)
    def read_integers(w, blocks, x, out, columns):
        stride, values = columns * 9, columns * 8
        for block in range(0, blocks - step + 1, step):
            place, into = w + block * stride, out + 64 * block
            integer_tile(place, stride, place + values, place + stride, stride, x, x + columns, 0, into, 0, into, 0,
                         columns, 0, 0, 1, 1, step, 4, 0, 32, 0, FLOAT16)  # fmt: skip

    return read_integers


def _super_loop(choice: LoopChoice) -> Kernel:
    """The same of Q6_K."""
    type = block_types()["Q6_K"]
    with trying(choice):
        step = panel_blocks(type)
    unit_bytes, unit_columns, tile = type.unit_bytes, type.columns, packed_tile(type, 1, step)

    @kernel(arguments=("int64",) * 5, choice=choice)
    def read_units(w, blocks, x, out, columns):
        units = columns // unit_columns
        stride = units * unit_bytes
        for block in range(0, blocks - step + 1, step):
            place = out + 64 * block
            tile(w + block * stride, stride, x, x + columns, 0, place, 0, place, 0, units)

    return read_units


def _tiles_loop(tokens: int, blocks: int, slab_bytes: int) -> Kernel:
    """A loop over slabs of two blocks of Q6_K that are in the caches, and some tokens."""
    type = block_types()["Q6_K"]
    size = ScratchLayout(type).size
    units = max(1, slab_bytes // (blocks * size))
    columns, repeats = units * type.columns, _SLABS // units
    tile, x_stride = unpacked_tile(type, tokens, blocks), 2 * columns + LINE_BYTES

    @kernel(arguments=("int64",) * 3, variant=f"{tokens}", choice=LoopChoice(False, False))
    def multiply_slabs(w, x, out):
        for _ in range(repeats):
            for block in range(0, 2, blocks):
                for row in range(0, _TOKENS, tokens):
                    values, place = x + row * x_stride, out + 128 * row + 64 * block
                    tile(w + block * units * size, units * size, values, values + columns, x_stride, place, 128, place,
                         128, units)  # fmt: skip

    return multiply_slabs
