"""Kernels that treat each token on its own: norms, activations, sums, copies."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.exp import exp, sigmoid, tanh
from ftllm_nb.kernels.memory import copy_bytes, load_i32
from ftllm_nb.kernels.simd import (
    fma,
    load_vector_partial,
    maximum,
    select,
    spread,
    store_vector_partial,
    sum_lanes,
)
from ftllm_nb.kernels.step import STEP_ROW_TOKENS, STEP_ROWS, argument, field, scalar, take_chunk

_FLOATS_AT_ONCE = 1024
"""Features of a chunk of the elementwise kernels: one token's work is shared as well."""

(NORM_INPUT, NORM_INPUT_STRIDE, NORM_OUTPUT, NORM_OUTPUT_STRIDE, NORM_WEIGHT, NORM_SIZE, NORM_GROUPS, NORM_EPS,
 NORM_COUNT, NORM_ADDED, NORM_ADDED_STRIDE, NORM_ALPHA, NORM_FIELDS) = range(13)  # fmt: skip
"""Arguments of the rows of `rms_norm` and `add_rms_norm`: each token has `GROUPS` runs of `SIZE` features, each
normalized on its own; `COUNT` is the step's field with the number of tokens. `ADDED …`: of `add_rms_norm`."""


@numba.njit
def normalize(source, target, weight, size, eps):
    """target = source / sqrt(mean(source²) + eps) · weight."""
    squares = spread(0.0)
    for at in range(0, size, 16):
        value = load_vector_partial(source + 4 * at, size - at)
        squares = fma(value, value, squares)
    mean = sum_lanes(squares) / np.float32(size)
    factor = spread(np.float32(1.0) / np.sqrt(mean + eps))
    for at in range(0, size, 16):
        value = load_vector_partial(source + 4 * at, size - at) * factor
        scaled = value * load_vector_partial(weight + 4 * at, size - at)
        store_vector_partial(target + 4 * at, scaled, size - at)


@numba.njit
def add_to(target, source, size, alpha):
    """target += alpha · source."""
    factor = spread(alpha)
    for at in range(0, size, 16):
        value = load_vector_partial(target + 4 * at, size - at)
        total = fma(factor, load_vector_partial(source + 4 * at, size - at), value)
        store_vector_partial(target + 4 * at, total, size - at)


@kernel()
def rms_norm(row, step, worker):
    """RMSNorm of each token's runs. A chunk is a token."""
    size, groups = argument(row, NORM_SIZE), argument(row, NORM_GROUPS)
    num_tokens = field(step, argument(row, NORM_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, NORM_INPUT) + token * argument(row, NORM_INPUT_STRIDE)
        target = argument(row, NORM_OUTPUT) + token * argument(row, NORM_OUTPUT_STRIDE)
        for group in range(groups):
            offset = group * size * 4
            normalize(source + offset, target + offset, argument(row, NORM_WEIGHT), size, scalar(row, NORM_EPS))
        token = take_chunk(worker, num_tokens)


@kernel()
def add_rms_norm(row, step, worker):
    """input += alpha · added, in place, then the RMSNorm of the sum's runs. A chunk is a token."""
    size, groups = argument(row, NORM_SIZE), argument(row, NORM_GROUPS)
    num_tokens = field(step, argument(row, NORM_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, NORM_INPUT) + token * argument(row, NORM_INPUT_STRIDE)
        added = argument(row, NORM_ADDED) + token * argument(row, NORM_ADDED_STRIDE)
        target = argument(row, NORM_OUTPUT) + token * argument(row, NORM_OUTPUT_STRIDE)
        for group in range(groups):
            offset = group * size * 4
            add_to(source + offset, added + offset, size, scalar(row, NORM_ALPHA))
            normalize(source + offset, target + offset, argument(row, NORM_WEIGHT), size, scalar(row, NORM_EPS))
        token = take_chunk(worker, num_tokens)


(EACH_FIRST, EACH_FIRST_STRIDE, EACH_SECOND, EACH_SECOND_STRIDE, EACH_OUTPUT, EACH_OUTPUT_STRIDE, EACH_SIZE,
 EACH_COUNT, EACH_ALPHA) = range(9)  # fmt: skip
"""Arguments of the rows of the kernels below, which combine `SIZE` features of each token. A chunk is a run of
features of a token; `COUNT` is the step's field with the number of tokens."""


def _each(name: str, combine: Any) -> Kernel:
    """A kernel: output = combine(first, second, alpha) on vectors; `second` may be `first` where it is not used."""

    @kernel(variant=name)
    def each(row, step, worker):
        size = argument(row, EACH_SIZE)
        alpha = spread(scalar(row, EACH_ALPHA))
        runs = (size + _FLOATS_AT_ONCE - 1) // _FLOATS_AT_ONCE
        num_chunks = runs * field(step, argument(row, EACH_COUNT))
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            token, begin = chunk // runs, chunk % runs * _FLOATS_AT_ONCE
            first = argument(row, EACH_FIRST) + token * argument(row, EACH_FIRST_STRIDE)
            second = argument(row, EACH_SECOND) + token * argument(row, EACH_SECOND_STRIDE)
            out = argument(row, EACH_OUTPUT) + token * argument(row, EACH_OUTPUT_STRIDE)
            for at in range(begin, min(begin + _FLOATS_AT_ONCE, size), 16):
                a = load_vector_partial(first + 4 * at, size - at)
                b = load_vector_partial(second + 4 * at, size - at)
                store_vector_partial(out + 4 * at, combine(a, b, alpha), size - at)
            chunk = take_chunk(worker, num_chunks)

    return each


@numba.njit(inline="always")
def _silu(a, b, alpha):
    return a * sigmoid(a)


@numba.njit(inline="always")
def silu_multiplied(a, b, alpha):
    """a · sigmoid(a) · b"""
    return a * sigmoid(a) * b


@numba.njit(inline="always")
def gelu_of(a, b, alpha):
    """a · Φ(a): half of erfc on the smaller side, whose relative error stays small (erfc: Press et al., Numerical
    Recipes, 6.2: a Chebyshev fit within 1.2e-7 of the value)."""
    z = maximum(a, spread(0.0) - a) * spread(0.7071067811865476)
    t = spread(1.0) / fma(z, spread(0.5), spread(1.0))
    p = spread(0.17087277)
    p = fma(p, t, spread(-0.82215223))
    p = fma(p, t, spread(1.48851587))
    p = fma(p, t, spread(-1.13520398))
    p = fma(p, t, spread(0.27886807))
    p = fma(p, t, spread(-0.18628806))
    p = fma(p, t, spread(0.09678418))
    p = fma(p, t, spread(0.37409196))
    p = fma(p, t, spread(1.00002368))
    p = fma(p, t, spread(-1.26551223))
    beyond = spread(0.5) * t * exp(p - z * z)
    return a * select(a < spread(0.0), beyond, spread(1.0) - beyond)


@numba.njit(inline="always")
def gelu_tanh_of(a, b, alpha):
    """½ a (1 + tanh u) with u = √(2/π) (a + 0.044715 a³), which is a · sigmoid(2 u)."""
    cubic = fma(a * a * spread(0.044715), a, a)
    return a * sigmoid(cubic * spread(1.5957691216057308))


@numba.njit(inline="always")
def gelu_multiplied(a, b, alpha):
    """a · Φ(a) · b"""
    return gelu_of(a, b, alpha) * b


@numba.njit(inline="always")
def gelu_tanh_multiplied(a, b, alpha):
    """The same in gelu's tanh form."""
    return gelu_tanh_of(a, b, alpha) * b


@numba.njit(inline="always")
def softplus_of(a, b, alpha):
    """ln(1 + e^a) = max(a, 0) + ln(1 + t) with t = e^−|a|, and ln(1 + t) = 2 artanh(s) with s = t / (2 + t) ≤ ⅓, whose
    series falls by s² ≤ 1/9 from term to term."""
    t = exp(spread(0.0) - maximum(a, spread(0.0) - a))
    s = t / (t + spread(2.0))
    square = s * s
    p = spread(1 / 15)
    p = fma(p, square, spread(1 / 13))
    p = fma(p, square, spread(1 / 11))
    p = fma(p, square, spread(1 / 9))
    p = fma(p, square, spread(1 / 7))
    p = fma(p, square, spread(1 / 5))
    p = fma(p, square, spread(1 / 3))
    p = fma(p, square, spread(1.0))
    return fma(p, s + s, select(a < spread(0.0), spread(0.0), a))


@numba.njit(inline="always")
def add_scaled_to(a, b, alpha):
    """a + alpha · b"""
    return fma(alpha, b, a)


@numba.njit(inline="always")
def multiplied(a, b, alpha):
    """a · b"""
    return a * b


@numba.njit(inline="always")
def _add_constant(a, b, alpha):
    return a + alpha


@numba.njit(inline="always")
def _scale(a, b, alpha):
    return a * alpha


@numba.njit(inline="always")
def _sigmoid(a, b, alpha):
    return sigmoid(a)


@numba.njit(inline="always")
def _tanh(a, b, alpha):
    return tanh(a)


@numba.njit(inline="always")
def _relu(a, b, alpha):
    return maximum(a, spread(0.0))


@numba.njit(inline="always")
def _relu_2(a, b, alpha):
    return maximum(a, spread(0.0)) * maximum(a, spread(0.0))


@numba.njit(inline="always")
def _exp(a, b, alpha):
    return exp(a)


@numba.njit(inline="always")
def _soft_cap(a, b, alpha):
    return tanh(a / alpha) * alpha


silu = _each("silu", _silu)
"""first · sigmoid(first)"""
gelu = _each("gelu", gelu_of)
"""first · Φ(first), Φ the normal distribution"""
gelu_tanh = _each("gelu_tanh", gelu_tanh_of)
"""the same with tanh instead of the error function"""
silu_multiply = _each("silu_multiply", silu_multiplied)
"""first · sigmoid(first) · second: the gated activation in one pass"""
gelu_multiply = _each("gelu_multiply", gelu_multiplied)
"""first · Φ(first) · second"""
gelu_tanh_multiply = _each("gelu_tanh_multiply", gelu_tanh_multiplied)
"""the same with tanh instead of the error function"""
softplus = _each("softplus", softplus_of)
"""ln(1 + e^first)"""
add_scaled = _each("add_scaled", add_scaled_to)
"""first + alpha · second"""
multiply = _each("multiply", multiplied)
"""first · second"""
add_constant = _each("add_constant", _add_constant)
"""first + alpha"""
scale = _each("scale", _scale)
"""first · alpha"""
sigmoid_each = _each("sigmoid", _sigmoid)
"""1 / (1 + e^−first)"""
tanh_each = _each("tanh", _tanh)
"""tanh(first)"""
relu = _each("relu", _relu)
"""max(first, 0)"""
relu_2 = _each("relu_2", _relu_2)
"""max(first, 0)²"""
exp_each = _each("exp", _exp)
"""e^first"""
soft_cap = _each("soft_cap", _soft_cap)
"""alpha · tanh(first / alpha)"""


@kernel()
def gather_rows(row, step, worker):
    """output[i] = first[the step's i-th token whose logits are wanted]. A chunk is a row."""
    num_rows = field(step, STEP_ROWS)
    chunk = take_chunk(worker, num_rows)
    while chunk >= 0:
        token = load_i32(field(step, STEP_ROW_TOKENS) + 4 * chunk)
        source = argument(row, EACH_FIRST) + token * argument(row, EACH_FIRST_STRIDE)
        target = argument(row, EACH_OUTPUT) + chunk * argument(row, EACH_OUTPUT_STRIDE)
        copy_bytes(target, source, argument(row, EACH_SIZE) * 4)
        chunk = take_chunk(worker, num_rows)


(RUNS_INPUT, RUNS_INPUT_STRIDE, RUNS_INPUT_STEP, RUNS_OUTPUT, RUNS_OUTPUT_STRIDE, RUNS_OUTPUT_STEP, RUNS_SIZE,
 RUNS_NUMBER, RUNS_COUNT) = range(9)  # fmt: skip
"""Arguments of `copy_runs`'s rows: each token has `NUMBER` runs of `SIZE` features, `STEP` bytes apart."""


@kernel()
def copy_runs(row, step, worker):
    """Copy runs of each token's features. A chunk is a token."""
    num_tokens = field(step, argument(row, RUNS_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, RUNS_INPUT) + token * argument(row, RUNS_INPUT_STRIDE)
        target = argument(row, RUNS_OUTPUT) + token * argument(row, RUNS_OUTPUT_STRIDE)
        for run in range(argument(row, RUNS_NUMBER)):
            copy_bytes(target + run * argument(row, RUNS_OUTPUT_STEP), source + run * argument(row, RUNS_INPUT_STEP),
                       argument(row, RUNS_SIZE) * 4)  # fmt: skip
        token = take_chunk(worker, num_tokens)
