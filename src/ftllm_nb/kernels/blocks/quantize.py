"""Rows of floats to rows of ggml's blocks, as files have them."""

from __future__ import annotations

import functools

import numpy as np

from ftllm_nb.kernels.blocks.bytes_of import SPARE_BYTES
from ftllm_nb.kernels.blocks.quantizers import quantizers
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.memory import load_f32, store_f32
from ftllm_nb.kernels.pack_integers import largest_bits
from ftllm_nb.kernels.quantize_rows import read_floats
from ftllm_nb.kernels.stack import room

_MOST_BITS = int(np.float32(1e9).view(np.int32))
"""Of a number that no type holds: scales are float16. Squares of smaller ones are finite."""


@functools.cache
def quantize_blocks_kernel(name: str, columns: int, block_bytes: int) -> Kernel:
    """A function `(source, kind, rows, row columns, importance, target)` of addresses and numbers, which any thread may
    call: writes rows of blocks of `columns` numbers each. `kind`: the source's, FLOAT32, FLOAT16 or BFLOAT16.
    `importance`: address of float32 [row columns], how much each input counts, or 0. Returns the number of the first
    row, from 1, that holds what no block can; 0 where none does."""
    quantize, memory = quantizers()[name](), room(8 * columns + SPARE_BYTES)

    @kernel(("int64",) * 6, "int64", variant=name)
    def quantize_blocks(source, kind, rows, row_columns, importance, target):
        floats = memory()
        weights, along = floats + 4 * columns, np.float32(1.0)
        spare = weights + 4 * columns
        for at in range(columns):
            store_f32(weights + 4 * at, np.float32(1.0))
        if importance != 0:
            along = np.float32(0.0)
        for row in range(rows):
            for begin in range(0, row_columns, columns):
                read_floats(source, kind, row * row_columns + begin, columns, floats)
                if importance != 0:
                    for at in range(columns):
                        store_f32(weights + 4 * at, load_f32(importance + 4 * (begin + at)))
                if largest_bits(floats, columns) >= _MOST_BITS:
                    return row + 1
                if not quantize(floats, weights, along, spare, target):
                    return row + 1
                target += block_bytes
        return 0

    return quantize_blocks
