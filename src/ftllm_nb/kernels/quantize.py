"""Activations to 8 bits, group by group: on their own, or as the last step of the kernel that makes them.

Rows lie as activation_rows.py says. A group's scale is its largest magnitude / 127, less its last two bits; values are
rounded to the nearest, ties to even. A group with a NaN or an infinity, or with a magnitude above 3 · 10 ** 33, of
which the offset is infinite, gets a scale that is no finite number either, so that it shows in every output.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.activation_rows import (
    LEAST_MAGNITUDE,
    OFFSET,
    ORIGIN_VALUE,
    SCALE,
    SCALE_MASK,
    SPREADS,
    START,
    SUMS_GROUP,
    SUMS_OF_16,
    SUMS_OF_32,
    has_sums,
    origin,
    record_bytes,
)
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.elementwise import (
    NORM_ADDED,
    NORM_ADDED_STRIDE,
    NORM_ALPHA,
    NORM_COUNT,
    NORM_EPS,
    NORM_FIELDS,
    NORM_GROUPS,
    NORM_INPUT,
    NORM_INPUT_STRIDE,
    NORM_OUTPUT,
    NORM_OUTPUT_STRIDE,
    NORM_SIZE,
    NORM_WEIGHT,
    add_to,
    gelu_multiplied,
    gelu_of,
    gelu_tanh_multiplied,
    gelu_tanh_of,
    normalize,
    silu_multiplied,
)
from ftllm_nb.kernels.emit import PREFETCH_BYTES
from ftllm_nb.kernels.hadamard import hadamard_in_place, hadamard_size, weights_share
from ftllm_nb.kernels.memory import bits_float, fetch_line, float_bits, store_f32, store_i16, store_i32
from ftllm_nb.kernels.simd import (
    load_vector,
    load_vector_partial,
    magnitude_bits,
    max_lanes_int,
    maximum_int,
    round_even,
    spread,
    spread_int,
    store_bytes,
    store_vector,
    sum_bytes,
    sum_lanes_int,
    to_int,
)
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, scalar, take_chunk

COLUMNS_MULTIPLE = 32
"""Columns of a quantized row, and of a group, are a multiple of this."""
_FLOATS_AT_ONCE = 1024
"""Features of a chunk: one token's work is shared where it has several groups."""

_origin, _has_sums, _record_bytes = numba.njit(origin), numba.njit(has_sums), numba.njit(record_bytes)


@numba.njit(inline="always")
def scales_for(largest):
    """(factor, scale): floats of at most that magnitude times the factor are in −127 … 127; the scale undoes it."""
    if largest < np.float32(LEAST_MAGNITUDE):
        return np.float32(0.0), np.float32(0.0)
    return np.float32(127.0) / largest, largest / np.float32(127.0)


@numba.njit
def quantize_group(source, size, values, record, middle, share):
    """Quantize `size` floats, a multiple of 16, from `source` on: their values, and their record. `share`: a power of
    two that they are multiplied by."""
    bits = spread_int(np.int32(0))
    for at in range(0, size, 16):
        bits = maximum_int(bits, magnitude_bits(load_vector(source + 4 * at)))
    inverse, scale = scales_for(bits_float(max_lanes_int(bits)))
    factor = spread(inverse)
    total = spread_int(np.int32(0))
    for at in range(0, size, 16):
        rounded = to_int(round_even(load_vector(source + 4 * at) * factor))
        total = total + rounded
        store_bytes(values + at, rounded)
    scale = bits_float(float_bits(scale * share) & SCALE_MASK)
    offset = np.float32(-ORIGIN_VALUE) * scale
    store_f32(record + SCALE, -offset if np.isinf(offset) else scale)
    store_i32(record + START, _origin(middle) - middle * sum_lanes_int(total))
    store_f32(record + OFFSET, offset)


@numba.njit
def _sum_values(values, record):
    """Write the sums of a group's values into its record."""
    for number in range(SUMS_GROUP // 32):
        first, second = sum_bytes(values + 32 * number), sum_bytes(values + 32 * number + 16)
        store_i16(record + SUMS_OF_16 + 4 * number, first)
        store_i16(record + SUMS_OF_16 + 4 * number + 2, second)
        store_i16(record + SUMS_OF_32 + 2 * number, first + second)


@numba.njit
def quantize_groups(source, target, columns, group, first, count, middle):
    """Quantize groups `first` … `first + count` − 1 of a token: their floats from `source` on, into its row. `middle`:
    as activation_rows.py has it; with SPREADS the floats are used up."""
    spreads, middle, share = middle >= SPREADS, middle % SPREADS, np.float32(1.0)
    if spreads:
        share = np.float32(weights_share(group)) / np.float32(hadamard_size(group))
    for number in range(count):
        at, floats = first + number, source + number * group * 4
        values, record = target + at * group, target + columns + _record_bytes(middle) * at
        if spreads:
            hadamard_in_place(floats, group)
        quantize_group(floats, group, values, record, middle, share)
        if _has_sums(middle):
            _sum_values(values, record)


(QUANTIZE_INPUT, QUANTIZE_INPUT_STRIDE, QUANTIZE_SECOND, QUANTIZE_SECOND_STRIDE, QUANTIZE_OUTPUT,
 QUANTIZE_OUTPUT_STRIDE, QUANTIZE_SIZE, QUANTIZE_COLUMNS, QUANTIZE_GROUP, QUANTIZE_MIDDLE,
 QUANTIZE_COUNT) = range(11)  # fmt: skip
"""Arguments of the rows of `quantize` and of the gates: `SIZE` features of each token become `COLUMNS`,
zeros at the end; `GROUP` divides `COLUMNS`; `MIDDLE` as `quantize_groups` takes it; `COUNT` is the step's field with
the number of tokens."""


def _each_quantized(name: str, combine: Any) -> Kernel:
    """A kernel: output = combine(input, second), quantized. A chunk is a run of groups of a token."""

    @kernel(variant=name)
    def each_quantized(row, step, worker):
        size, columns = argument(row, QUANTIZE_SIZE), argument(row, QUANTIZE_COLUMNS)
        group, floats = argument(row, QUANTIZE_GROUP), field(worker, WORKER_SCRATCH)
        groups = columns // group
        at_once = max(1, _FLOATS_AT_ONCE // group)
        runs = (groups + at_once - 1) // at_once
        num_chunks = runs * field(step, argument(row, QUANTIZE_COUNT))
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            token, first = chunk // runs, chunk % runs * at_once
            count = min(at_once, groups - first)
            source = argument(row, QUANTIZE_INPUT) + token * argument(row, QUANTIZE_INPUT_STRIDE)
            second = argument(row, QUANTIZE_SECOND) + token * argument(row, QUANTIZE_SECOND_STRIDE)
            begin = first * group
            for at in range(begin, begin + count * group, 16):
                fetch_line(source + 4 * at + PREFETCH_BYTES)
                fetch_line(second + 4 * at + PREFETCH_BYTES)
                a = load_vector_partial(source + 4 * at, size - at)
                b = load_vector_partial(second + 4 * at, size - at)
                store_vector(floats + 4 * (at - begin), combine(a, b, a))
            target = argument(row, QUANTIZE_OUTPUT) + token * argument(row, QUANTIZE_OUTPUT_STRIDE)
            quantize_groups(floats, target, columns, group, first, count, argument(row, QUANTIZE_MIDDLE))
            chunk = take_chunk(worker, num_chunks)

    return each_quantized


@numba.njit(inline="always")
def _unchanged(a, b, alpha):
    return a


quantize = _each_quantized("quantize", _unchanged)
"""The input, quantized."""
gelu_quantize = _each_quantized("gelu", gelu_of)
"""input · Φ(input), quantized."""
gelu_tanh_quantize = _each_quantized("gelu_tanh", gelu_tanh_of)
"""The same in gelu's tanh form."""
silu_multiply_quantize = _each_quantized("silu_multiply", silu_multiplied)
"""input · sigmoid(input) · second, quantized."""
gelu_multiply_quantize = _each_quantized("gelu_multiply", gelu_multiplied)
"""input · Φ(input) · second, quantized."""
gelu_tanh_multiply_quantize = _each_quantized("gelu_tanh_multiply", gelu_tanh_multiplied)
"""The same in gelu's tanh form."""

(NORM_COLUMNS, NORM_GROUP, NORM_MIDDLE) = range(NORM_FIELDS, NORM_FIELDS + 3)
"""Arguments of the rows of the norms below after those of `rms_norm`: as `QUANTIZE_COLUMNS` and so on."""


@numba.njit
def _normalize_quantized(row, token, source, floats):
    """The norm of a token's runs, into `floats`, then quantized into the token's row."""
    size, columns = argument(row, NORM_SIZE), argument(row, NORM_COLUMNS)
    features = size * argument(row, NORM_GROUPS)
    for run in range(0, features, size):
        normalize(source + 4 * run, floats + 4 * run, argument(row, NORM_WEIGHT), size, scalar(row, NORM_EPS))
    for at in range(features, columns):
        store_f32(floats + 4 * at, np.float32(0.0))
    target = argument(row, NORM_OUTPUT) + token * argument(row, NORM_OUTPUT_STRIDE)
    group = argument(row, NORM_GROUP)
    quantize_groups(floats, target, columns, group, 0, columns // group, argument(row, NORM_MIDDLE))


@kernel()
def rms_norm_quantize(row, step, worker):
    """RMSNorm of each token's runs, quantized. A chunk is a token."""
    num_tokens = field(step, argument(row, NORM_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, NORM_INPUT) + token * argument(row, NORM_INPUT_STRIDE)
        _normalize_quantized(row, token, source, field(worker, WORKER_SCRATCH))
        token = take_chunk(worker, num_tokens)


@kernel()
def add_rms_norm_quantize(row, step, worker):
    """input += alpha · added, in place, then the RMSNorm of the sum, quantized. A chunk is a token."""
    num_tokens = field(step, argument(row, NORM_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, NORM_INPUT) + token * argument(row, NORM_INPUT_STRIDE)
        added = argument(row, NORM_ADDED) + token * argument(row, NORM_ADDED_STRIDE)
        add_to(source, added, argument(row, NORM_SIZE), scalar(row, NORM_ALPHA))
        _normalize_quantized(row, token, source, field(worker, WORKER_SCRATCH))
        token = take_chunk(worker, num_tokens)
