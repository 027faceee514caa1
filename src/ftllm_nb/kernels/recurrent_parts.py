"""What recurrent layers compute beside their recurrence: norms with a gate, decays, running sums."""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.elementwise import softplus_of
from ftllm_nb.kernels.exp import exp, sigmoid
from ftllm_nb.kernels.memory import load_f32, store_f32
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import (
    fma,
    load_vector,
    load_vector_partial,
    maximum,
    spread,
    store_vector,
    store_vector_partial,
    sum_lanes,
)
from ftllm_nb.kernels.step import STEP_TOKENS, argument, field, scalar, take_chunk

GATED_NORM = row_fields(
    "input", "input_stride", "gate", "gate_stride", "output", "output_stride", "weight", "weight_stride", "size",
    "groups", "eps", "is_sigmoid", "is_gate_first", "count",
)  # fmt: skip
"""Each token has `groups` runs of `size` features; `weight_stride`: bytes from a run's weights to the next one's."""

L2_NORM = row_fields("input", "input_stride", "output", "output_stride", "size", "groups", "eps", "count")


@numba.njit(inline="always")
def _gate(value, is_sigmoid):
    result = sigmoid(value)
    if not is_sigmoid:
        result = result * value
    return result


@kernel()
def gated_rms_norm(row, step, worker):
    """RMSNorm of each token's runs, times the gate's silu or sigmoid before or after it. A chunk is a token."""
    size, groups = argument(row, GATED_NORM.size), argument(row, GATED_NORM.groups)
    is_sigmoid, is_first = argument(row, GATED_NORM.is_sigmoid) != 0, argument(row, GATED_NORM.is_gate_first) != 0
    num_tokens = field(step, argument(row, GATED_NORM.count))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, GATED_NORM.input) + token * argument(row, GATED_NORM.input_stride)
        gate = argument(row, GATED_NORM.gate) + token * argument(row, GATED_NORM.gate_stride)
        target = argument(row, GATED_NORM.output) + token * argument(row, GATED_NORM.output_stride)
        weight = argument(row, GATED_NORM.weight)
        for _ in range(groups):
            squares = spread(0.0)
            for at in range(0, size, 16):
                value = load_vector_partial(source + 4 * at, size - at)
                if is_first:
                    value = value * _gate(load_vector_partial(gate + 4 * at, size - at), is_sigmoid)
                squares = fma(value, value, squares)
                store_vector_partial(target + 4 * at, value, size - at)
            mean = sum_lanes(squares) / np.float32(size)
            factor = spread(np.float32(1.0) / np.sqrt(mean + scalar(row, GATED_NORM.eps)))
            for at in range(0, size, 16):
                value = load_vector_partial(target + 4 * at, size - at) * factor
                value = value * load_vector_partial(weight + 4 * at, size - at)
                if not is_first:
                    value = value * _gate(load_vector_partial(gate + 4 * at, size - at), is_sigmoid)
                store_vector_partial(target + 4 * at, value, size - at)
            source, gate, target = source + 4 * size, gate + 4 * size, target + 4 * size
            weight += argument(row, GATED_NORM.weight_stride)
        token = take_chunk(worker, num_tokens)


@kernel()
def l2_norm(row, step, worker):
    """input / sqrt(Σ input² + eps) of each token's runs. A chunk is a token."""
    size, groups = argument(row, L2_NORM.size), argument(row, L2_NORM.groups)
    num_tokens = field(step, argument(row, L2_NORM.count))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, L2_NORM.input) + token * argument(row, L2_NORM.input_stride)
        target = argument(row, L2_NORM.output) + token * argument(row, L2_NORM.output_stride)
        for _ in range(groups):
            squares = spread(0.0)
            for at in range(0, size, 16):
                value = load_vector_partial(source + 4 * at, size - at)
                squares = fma(value, value, squares)
            factor = spread(np.float32(1.0) / np.sqrt(sum_lanes(squares) + scalar(row, L2_NORM.eps)))
            for at in range(0, size, 16):
                value = load_vector_partial(source + 4 * at, size - at) * factor
                store_vector_partial(target + 4 * at, value, size - at)
            source, target = source + 4 * size, target + 4 * size
        token = take_chunk(worker, num_tokens)


DECAYS = row_fields(
    "input", "input_stride", "output", "output_stride", "log_rates", "bias", "size", "groups", "is_of_run", "count"
)
"""Each token has `groups` runs of `size` features; `is_of_run`: there is a log rate for each run, not each feature."""


@kernel()
def mamba_softplus(row, step, worker):
    """output = −e^log_rates · softplus(input + bias). A chunk is a token."""
    size, num_tokens = argument(row, DECAYS.size), field(step, argument(row, DECAYS.count))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, DECAYS.input) + token * argument(row, DECAYS.input_stride)
        target = argument(row, DECAYS.output) + token * argument(row, DECAYS.output_stride)
        bias, log_rates = argument(row, DECAYS.bias), argument(row, DECAYS.log_rates)
        for group in range(argument(row, DECAYS.groups)):
            of_run = exp(spread(load_f32(log_rates + 4 * group)))
            for at in range(0, size, 16):
                value = load_vector_partial(source + 4 * at, size - at) + load_vector_partial(bias + 4 * at, size - at)
                rates = of_run
                if argument(row, DECAYS.is_of_run) == 0:
                    rates = exp(load_vector_partial(log_rates + 4 * at, size - at))
                value = (spread(0.0) - rates) * softplus_of(value, value, value)
                store_vector_partial(target + 4 * at, value, size - at)
            source, target, bias = source + 4 * size, target + 4 * size, bias + 4 * size
        token = take_chunk(worker, num_tokens)


TIME_STEPS = row_fields(
    "input", "input_stride", "log_rates", "bias", "least", "most", "steps", "decays", "stride", "size"
)
"""`steps`, `decays`: for each token `stride` bytes, of whole vectors."""


@kernel()
def time_steps(row, step, worker):
    """steps = softplus(input + bias), held between `least` and `most`; decays = e^(−e^log_rates · steps). A chunk is a
    token."""
    size, stride = argument(row, TIME_STEPS.size), argument(row, TIME_STEPS.stride)
    least, most = spread(scalar(row, TIME_STEPS.least)), spread(scalar(row, TIME_STEPS.most))
    num_tokens = field(step, STEP_TOKENS)
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, TIME_STEPS.input) + token * argument(row, TIME_STEPS.input_stride)
        for at in range(0, size, 16):
            bias = load_vector(argument(row, TIME_STEPS.bias) + 4 * at)
            value = load_vector_partial(source + 4 * at, size - at) + bias
            value = softplus_of(value, value, value)
            value = spread(0.0) - maximum(spread(0.0) - maximum(value, least), spread(0.0) - most)
            rates = exp(load_vector(argument(row, TIME_STEPS.log_rates) + 4 * at))
            store_vector(argument(row, TIME_STEPS.steps) + token * stride + 4 * at, value)
            decay = exp((spread(0.0) - rates) * value)
            store_vector(argument(row, TIME_STEPS.decays) + token * stride + 4 * at, decay)
        token = take_chunk(worker, num_tokens)


RUNNING_SUM = row_fields("place", "stride", "size", "groups", "count")


@kernel()
def running_sum(row, step, worker):
    """Each of a run's numbers becomes the sum of those up to it. A chunk is a token."""
    size, groups = argument(row, RUNNING_SUM.size), argument(row, RUNNING_SUM.groups)
    num_tokens = field(step, argument(row, RUNNING_SUM.count))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        place = argument(row, RUNNING_SUM.place) + token * argument(row, RUNNING_SUM.stride)
        for _ in range(groups):
            total = np.float32(0.0)
            for _ in range(size):
                total += load_f32(place)
                store_f32(place, total)
                place += 4
        token = take_chunk(worker, num_tokens)
