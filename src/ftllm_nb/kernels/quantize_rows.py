"""From a checkpoint's float rows to rows of whole numbers with scales: what the methods of quantization share.

A method chooses the scale and the zero point of each group; `round_run` rounds, as it does where weights are quantized
while they load, and the numbers are laid as the compressed-tensors layout has them. What the numbers are like is an
argument of the row: a kernel for each type would take longer to compile than most models take to be quantized.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types

from ftllm_nb.kernels.emit import F32, emitted, function
from ftllm_nb.kernels.hadamard import spread_in_place
from ftllm_nb.kernels.half import narrow_half, widen_half
from ftllm_nb.kernels.matmul_tile import BFLOAT16, FLOAT16, FLOAT32, load_weight
from ftllm_nb.kernels.memory import copy_bytes, load_i64, store_byte, store_f16, store_f32, store_i32, store_i64
from ftllm_nb.kernels.pack_integers import INFINITY_BITS, largest_bits, round_run
from ftllm_nb.kernels.simd import load_vector, max_lanes, round_even, select, spread, sum_lanes
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk

(ROWS_SOURCE, ROWS_KIND, ROWS_NUMBERS, ROWS_SCALES, ROWS_ZEROS, ROWS_COUNT, ROWS_COLUMNS, ROWS_FAULT, ROWS_BITS,
 ROWS_GROUP, ROWS_SYMMETRIC, ROWS_WORDS, ROWS_SPREADS) = range(13)  # fmt: skip
"""Arguments of a row: float rows [count, columns] and their type, FLOAT32, FLOAT16 or BFLOAT16; the addresses of the
numbers, a row in `number_bytes`, of float16 scales and of zero points (unsigned bytes, unless symmetric), both [count,
groups]; the address of an int64 that becomes 1 where a weight is no finite number, or a scale does not fit float16;
a number's bits; a group's columns, or 0 where a row is one; whether zero points are half the range; `words`: see
`number_bytes`; whether groups are spread first (kernels/hadamard.py), of columns that are a multiple of
COLUMNS_MULTIPLE."""

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


@numba.njit
def read_floats(source, kind, first, count, floats):
    """Write `count` numbers of a type, from number `first` on, as float32."""
    if kind == FLOAT32:
        copy_bytes(floats, source + 4 * first, 4 * count)
    elif kind == FLOAT16:
        for at in range(count):
            store_f32(floats + 4 * at, load_weight(source + 2 * (first + at), FLOAT16))
    else:
        for at in range(count):
            store_f32(floats + 4 * at, load_weight(source + 2 * (first + at), BFLOAT16))


def rows_walker(choose: Any) -> Any:
    """The body of a method's kernel: `walk(row, worker)`. A chunk is some rows; scratch as `scratch_bytes` says.

    `choose(floats, size, middle, symmetric)` gives the scale and the zero point of a group of `size` finite float32: a
    float32 that is a float16, or infinite where it does not fit, and a whole number from 0 to 2 · middle − 1, which is
    `middle` where `symmetric`. Numbers of 4 bits are always packed.
    """

    @numba.njit(error_model="numpy")
    def walk(row, worker):
        count, columns = argument(row, ROWS_COUNT), argument(row, ROWS_COLUMNS)
        bits, group, words = argument(row, ROWS_BITS), argument(row, ROWS_GROUP), argument(row, ROWS_WORDS) != 0
        symmetric, spreads = argument(row, ROWS_SYMMETRIC) != 0, argument(row, ROWS_SPREADS) != 0
        middle = 1 << (bits - 1)
        multiple = COLUMNS_MULTIPLE if group == 0 else group
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
                read_floats(argument(row, ROWS_SOURCE), argument(row, ROWS_KIND), at * columns, columns, floats)
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
                        # What most are has code of its own, for numbers that are known while it is compiled.
                        if width == 32 and middle == 8 and symmetric:
                            scale, zero = choose(here, 32, 8, True)
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
