"""From a checkpoint's rows to blocks of 16 rows of 4-bit or 8-bit weights: rounded to nearest.

integer_tile.py says how a block lies. A group's scale is its largest magnitude divided by half the number of
steps (7.5 or 127.5), as float16, so that both ends of the range are used; values are rounded to the nearest.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.hadamard import spread_in_place
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, load_weight
from ftllm_nb.kernels.memory import (
    bits_float,
    load_f16,
    load_i32,
    store_f16,
    store_f32,
    store_i32,
    store_i64,
)
from ftllm_nb.kernels.pack import PACK_COLUMNS, PACK_FAULT, PACK_ROWS, PACK_SOURCE, PACK_TARGET
from ftllm_nb.kernels.simd import (
    load_vector,
    magnitude_bits,
    max_lanes_int,
    maximum_int,
    minimum_int,
    round_even,
    spread,
    spread_int,
    store_bytes,
    to_int,
)
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk
from ftllm_nb.kernels.sums import MIDDLE

INFINITY_BITS = 0x7F800000


@numba.njit
def largest_bits(floats, size):
    """The bits of the largest magnitude of `size` floats; not below `INFINITY_BITS` where one is no finite number."""
    bits = spread_int(np.int32(0))
    for at in range(0, size, 16):
        bits = maximum_int(bits, magnitude_bits(load_vector(floats + 4 * at)))
    return max_lanes_int(bits)


@numba.njit
def round_run(floats, size, scale, zero, steps, unsigned):
    """Write `size` floats as unsigned bytes: rounded quotients by the scale, plus `zero`, kept in 0 … steps − 1."""
    inverse = np.float32(0.0)
    if scale != 0:
        inverse = np.float32(1.0) / scale
    factor, offset = spread(inverse), spread_int(np.int32(zero))
    lowest, highest = spread_int(np.int32(0)), spread_int(np.int32(steps - 1))
    for at in range(0, size, 16):
        numbers = to_int(round_even(load_vector(floats + 4 * at) * factor)) + offset
        store_bytes(unsigned + at, minimum_int(maximum_int(numbers, lowest), highest))


@numba.njit
def _place_run(unsigned, size, bits, target, first):
    """Lay `size` unsigned bytes, columns `first` … of one row, into the row's places of its block (`target`)."""
    if bits == 8:
        for at in range(0, size, 4):
            store_i32(target + (first + at) * 16, load_i32(unsigned + at))
    else:
        for at in range(0, size, 8):
            both = load_i32(unsigned + at) | (load_i32(unsigned + at + 4) << 4)
            store_i32(target + (first + at) * 8, both)


@functools.cache
def pack_integers_kernel(source_kind: int, bits: int, group: int, spreads: bool) -> Kernel:
    """Quantize and pack a row-major float matrix, rows and columns padded with zeros. `group` 0 is a whole row;
    `spreads`: each group is multiplied by Hadamard's matrix first, and divided by `weights_share`.

    Arguments as for `pack_kernel`; the fault word is set where a weight is no finite number, or a scale does not fit
    float16. A chunk is a block. Scratch: 5 bytes a padded column.
    """
    source_bytes, middle = WEIGHT_BYTES[source_kind], MIDDLE[bits]
    multiple = group or 32

    @kernel(variant=f"{source_kind}_{bits}_{group}_{int(spreads)}")
    def pack_integers(row, step, worker):
        rows, columns = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS)
        padded = (columns + multiple - 1) // multiple * multiple
        width = padded if group == 0 else group
        groups = padded // width
        block_bytes = padded * 2 * bits + groups * 32
        floats = field(worker, WORKER_SCRATCH)
        unsigned = floats + 4 * padded
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            target = argument(row, PACK_TARGET) + block * block_bytes
            for lane in range(16):
                source = argument(row, PACK_SOURCE) + (block * 16 + lane) * columns * source_bytes
                for at in range(columns):
                    value = np.float32(0.0)
                    if block * 16 + lane < rows:
                        value = load_weight(source + at * source_bytes, source_kind)
                    store_f32(floats + 4 * at, value)
                for at in range(columns, padded):
                    store_f32(floats + 4 * at, np.float32(0.0))
                for number in range(groups):
                    first = number * width
                    if spreads:
                        spread_in_place(floats + 4 * first, width)
                    largest = largest_bits(floats + 4 * first, width)
                    scale_place = target + padded * 2 * bits + number * 32 + lane * 2
                    store_f16(scale_place, bits_float(largest) / np.float32(middle - 0.5))
                    scale = load_f16(scale_place)
                    if largest >= INFINITY_BITS or scale > np.float32(65504.0):
                        store_i64(argument(row, PACK_FAULT), 1)
                        scale = np.float32(0.0)
                    round_run(floats + 4 * first, width, scale, middle, 2 * middle, unsigned)
                    _place_run(unsigned, width, bits, target + lane * 4, first)
            block = take_chunk(worker, num_blocks)

    return pack_integers
