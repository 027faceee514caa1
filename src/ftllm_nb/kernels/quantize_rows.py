"""From a checkpoint's float rows to rows of whole numbers with scales: what the methods of quantization share.

A method chooses the scale and the zero point of each group; `round_run` rounds, as it does where weights are quantized
while they load, and the numbers are laid as the compressed-tensors layout has them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types

from ftllm_nb.kernels.emit import F32, emitted, function
from ftllm_nb.kernels.hadamard import spread_in_place
from ftllm_nb.kernels.half import narrow_half, widen_half
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, load_weight
from ftllm_nb.kernels.memory import copy_bytes, load_i64, store_byte, store_f16, store_f32, store_i32, store_i64
from ftllm_nb.kernels.pack_integers import INFINITY_BITS, largest_bits, round_run
from ftllm_nb.kernels.simd import load_vector, max_lanes, round_even, select, spread, sum_lanes
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk

ROWS_SOURCE, ROWS_NUMBERS, ROWS_SCALES, ROWS_ZEROS, ROWS_COUNT, ROWS_COLUMNS, ROWS_FAULT = range(7)
"""Arguments of a row: float rows [count, columns]; the addresses of the numbers, a row in `number_bytes`, of float16
scales and of zero points (unsigned bytes, unless symmetric), both [count, groups]; the address of an int64 that
becomes 1 where a weight is no finite number, or a scale does not fit float16."""

ROWS_AT_ONCE = 8
"""Rows of a chunk of the work."""
COLUMNS_MULTIPLE = 32
_LARGEST_SCALE = np.float32(65504.0)


def padded_columns(columns: int, group: int) -> int:
    """Columns filled up with zeros to whole groups."""
    multiple = group or COLUMNS_MULTIPLE
    return -(-columns // multiple) * multiple


def number_bytes(columns: int, bits: int, words: bool) -> int:
    """Bytes of a row's numbers: packed into words of 4 bytes, or a byte each."""
    return -(-columns * bits // 32) * 4 if words else columns


def scratch_bytes(columns: int, group: int) -> int:
    """Private memory that a worker needs: the row as floats, then as bytes."""
    return 5 * padded_columns(columns, group) + 64


@emitted(types.float32, types.float32)
def as_half(builder, value):
    """A float32 rounded to the nearest float16."""
    return widen_half(builder, narrow_half(builder, value))


@emitted(types.float32, types.float32)
def nearest(builder, value):
    """A float32 rounded to the nearest whole number, ties to even."""
    return builder.call(function(builder, "llvm.rint.f32", F32, F32), [value])


@numba.njit
def sum_of_squares(floats, size):
    """Σ x · x for `size` floats: sixteen sums, one a lane, then added as `sum_lanes` does."""
    total = spread(np.float32(0.0))
    for at in range(0, size, 16):
        x = load_vector(floats + 4 * at)
        total = total + x * x
    return sum_lanes(total)


@numba.njit(error_model="numpy")
def output_error(floats, size, squares, scale, zero, steps):
    """What rounding `size` weights x makes of a sum over them: Σ off · off + (Σ off · x)² / Σ x · x, off = x − rounded.

    That is the expected squared error where the inputs' covariance is the unit matrix and once more the direction of
    the weights. `squares`: `sum_of_squares` of the weights. The scale is not 0; there are `steps` steps.
    """
    factor, width = spread(np.float32(1.0) / scale), spread(scale)
    lowest, highest = spread(np.float32(-zero)), spread(np.float32(steps - 1 - zero))
    total, along = spread(np.float32(0.0)), spread(np.float32(0.0))
    for at in range(0, size, 16):
        x = load_vector(floats + 4 * at)
        number = round_even(x * factor)
        number = select(number < lowest, lowest, number)
        number = select(number > highest, highest, number)
        off = x - number * width
        total, along = total + off * off, along + off * x
    shift = sum_lanes(along)
    return sum_lanes(total) + shift * (shift / squares)


@numba.njit(error_model="numpy")
def fitted_scale(floats, size, squares, scale, zero, steps):
    """The scale of least `output_error` for the numbers n that this scale, which is not 0, gives.

    With a = Σ x · n it is 2 a / (Σ n · n + a² / Σ x · x); NaN where all numbers are 0.
    """
    factor = spread(np.float32(1.0) / scale)
    lowest, highest = spread(np.float32(-zero)), spread(np.float32(steps - 1 - zero))
    products, numbers = spread(np.float32(0.0)), spread(np.float32(0.0))
    for at in range(0, size, 16):
        x = load_vector(floats + 4 * at)
        number = round_even(x * factor)
        number = select(number < lowest, lowest, number)
        number = select(number > highest, highest, number)
        products, numbers = products + x * number, numbers + number * number
    along = sum_lanes(products)
    return (along + along) / (sum_lanes(numbers) + along * (along / squares))


@numba.njit
def bounds(floats, size):
    """The smallest and the largest of `size` floats and 0."""
    low, high = spread(np.float32(0.0)), spread(np.float32(0.0))
    for at in range(0, size, 16):
        x = load_vector(floats + 4 * at)
        low, high = select(x < low, x, low), select(x > high, x, high)
    return -max_lanes(spread(np.float32(0.0)) - low), max_lanes(high)


@numba.njit
def _eight_nibbles(word):
    """The word of 4 bytes whose halves are the 8 bytes, each below 16, of a word of 8."""
    word = (word | (word >> 4)) & 0x00FF00FF00FF00FF
    word = (word | (word >> 8)) & 0x0000FFFF0000FFFF
    return word | (word >> 16)


@numba.njit
def _place_row(unsigned, columns, bits, words, target):
    """Lay a row of unsigned bytes, zero bytes after it, as packed words or as signed bytes."""
    if bits == 4:
        for at in range(0, columns, 8):
            store_i32(target + at // 2, _eight_nibbles(load_i64(unsigned + at)))
        return
    if not words:
        for at in range(0, columns, 8):
            store_i64(unsigned + at, load_i64(unsigned + at) ^ -0x7F7F7F7F7F7F7F80)
    copy_bytes(target, unsigned, (columns + 3) // 4 * 4 if words else columns)


def rows_walker(
    choose: Any, source_kind: int, bits: int, group: int, symmetric: bool, words: bool, spreads: bool
) -> Any:
    """The body of a method's kernel: `walk(row, worker)`. A chunk is some rows; scratch as `scratch_bytes` says.

    `choose(floats, size, middle, symmetric)` gives the scale and the zero point of a group of `size` finite float32: a
    float32 that is a float16, or infinite where it does not fit, and a whole number from 0 to 2 · middle − 1, which is
    `middle` where `symmetric`. `words`: see `number_bytes`; numbers of 4 bits are always packed.
    `spreads`: groups are spread first (kernels/hadamard.py); columns are a multiple of COLUMNS_MULTIPLE.
    """
    source_bytes, middle = WEIGHT_BYTES[source_kind], 1 << (bits - 1)
    multiple = group or COLUMNS_MULTIPLE

    @numba.njit(error_model="numpy")
    def walk(row, worker):
        count, columns = argument(row, ROWS_COUNT), argument(row, ROWS_COLUMNS)
        padded = (columns + multiple - 1) // multiple * multiple
        width = padded if group == 0 else group
        groups = padded // width
        row_bytes = (columns * bits + 31) // 32 * 4 if words else columns
        floats = field(worker, WORKER_SCRATCH)
        unsigned = floats + 4 * padded
        num_chunks = (count + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            for at in range(chunk * ROWS_AT_ONCE, min(count, (chunk + 1) * ROWS_AT_ONCE)):
                source = argument(row, ROWS_SOURCE) + at * columns * source_bytes
                for column in range(columns):
                    store_f32(floats + 4 * column, load_weight(source + column * source_bytes, source_kind))
                for column in range(columns, padded):
                    store_f32(floats + 4 * column, np.float32(0.0))
                for number in range(groups):
                    here, place = floats + 4 * number * width, at * groups + number
                    scale, zero = np.float32(0.0), middle
                    if spreads:
                        spread_in_place(here, width)
                    if largest_bits(here, width) >= INFINITY_BITS:
                        store_i64(argument(row, ROWS_FAULT), 1)
                    else:
                        scale, zero = choose(here, width, middle, symmetric)
                        if abs(scale) > _LARGEST_SCALE:
                            store_i64(argument(row, ROWS_FAULT), 1)
                            scale = np.float32(0.0)
                    store_f16(argument(row, ROWS_SCALES) + 2 * place, scale)
                    if not symmetric:
                        store_byte(argument(row, ROWS_ZEROS) + place, zero)
                    round_run(here, width, scale, zero, 2 * middle, unsigned + number * width)
                for column in range(columns, (columns + 7) // 8 * 8):
                    store_byte(unsigned + column, 0)
                _place_row(unsigned, columns, bits, words, argument(row, ROWS_NUMBERS) + at * row_bytes)
            chunk = take_chunk(worker, num_chunks)

    return walk
