"""The gates of experts: from the rows of the first product, one for each slot, to those that the second one reads."""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.elementwise import gelu_multiplied, gelu_tanh_multiplied, silu_multiplied
from ftllm_nb.kernels.exp import sigmoid
from ftllm_nb.kernels.quantize import quantize_groups
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import (
    evens,
    load_vector_partial,
    maximum,
    odds,
    select,
    spread,
    store_vector,
    store_vector_partial,
)
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, scalar, take_chunk

GATE = row_fields("input", "input_stride", "up", "output", "output_stride", "size", "columns", "group", "middle",
                  "picks", "count", "alpha", "limit")  # fmt: skip
"""Arguments of the rows of gates: `up`: bytes from a row's gate to its other half; `size` features come out. Where they
are quantized they become `columns`, zeros at the end, in groups of `group`, with `middle` (kernels/quantize.py).
`picks`: slots of a token; `count`: the step's field with the number of tokens."""


@numba.njit(inline="always")
def _silu(gate, up, alpha, limit):
    return silu_multiplied(gate, up, alpha)


@numba.njit(inline="always")
def _gelu(gate, up, alpha, limit):
    return gelu_multiplied(gate, up, alpha)


@numba.njit(inline="always")
def _gelu_tanh(gate, up, alpha, limit):
    return gelu_tanh_multiplied(gate, up, alpha)


@numba.njit(inline="always")
def _limited(value, limit):
    lowest = spread(0.0) - limit
    return select(value > limit, limit, select(value < lowest, lowest, value))


@numba.njit(inline="always")
def _limited_silu(gate, up, alpha, limit):
    return silu_multiplied(select(gate > limit, limit, gate), _limited(up, limit), alpha)


@numba.njit(inline="always")
def _limited_pair(gate, up, alpha, limit):
    """(u + 1) · g · sigmoid(alpha · g), g at most the limit, u between minus the limit and the limit."""
    gate = select(gate > limit, limit, gate)
    return (_limited(up, limit) + spread(1.0)) * (gate * sigmoid(alpha * gate))


@numba.njit(inline="always")
def _relu_2(gate, up, alpha, limit):
    return maximum(gate, spread(0.0)) * maximum(gate, spread(0.0))


def _gates(name: str, combine: Any, *, are_pairs: bool = False) -> tuple[Kernel, Kernel]:
    """Two kernels: output = combine(gate, up, alpha, limit), as float32, and quantized; `are_pairs`: gate and up are
    neighbours. A chunk is a slot."""

    @numba.njit(inline="always")
    def combined(source, up, at, size, alpha, limit):
        left = size - at
        if are_pairs:
            lower = load_vector_partial(source + 8 * at, 2 * left)
            upper = load_vector_partial(source + 8 * at + 64, 2 * left - 16)
            return combine(evens(lower, upper), odds(lower, upper), alpha, limit)
        first = load_vector_partial(source + 4 * at, left)
        return combine(first, load_vector_partial(source + up + 4 * at, left), alpha, limit)

    @kernel(variant=name)
    def expert_gate(row, step, worker):
        size, up = argument(row, GATE.size), argument(row, GATE.up)
        alpha, limit = spread(scalar(row, GATE.alpha)), spread(scalar(row, GATE.limit))
        slots = argument(row, GATE.picks) * field(step, argument(row, GATE.count))
        slot = take_chunk(worker, slots)
        while slot >= 0:
            source = argument(row, GATE.input) + slot * argument(row, GATE.input_stride)
            target = argument(row, GATE.output) + slot * argument(row, GATE.output_stride)
            for at in range(0, size, 16):
                store_vector_partial(target + 4 * at, combined(source, up, at, size, alpha, limit), size - at)
            slot = take_chunk(worker, slots)

    @kernel(variant=name)
    def expert_gate_quantize(row, step, worker):
        size, up, columns = argument(row, GATE.size), argument(row, GATE.up), argument(row, GATE.columns)
        alpha, limit = spread(scalar(row, GATE.alpha)), spread(scalar(row, GATE.limit))
        floats, group = field(worker, WORKER_SCRATCH), argument(row, GATE.group)
        slots = argument(row, GATE.picks) * field(step, argument(row, GATE.count))
        slot = take_chunk(worker, slots)
        while slot >= 0:
            source = argument(row, GATE.input) + slot * argument(row, GATE.input_stride)
            target = argument(row, GATE.output) + slot * argument(row, GATE.output_stride)
            for at in range(0, columns, 16):
                value = spread(0.0)
                if at < size:
                    value = combined(source, up, at, size, alpha, limit)
                    if size - at < 16:  # what lies beyond may be combined of anything
                        store_vector(floats + 4 * at, spread(0.0))
                        store_vector_partial(floats + 4 * at, value, size - at)
                        continue
                store_vector(floats + 4 * at, value)
            quantize_groups(floats, target, columns, group, 0, columns // group, argument(row, GATE.middle))
            slot = take_chunk(worker, slots)

    return expert_gate, expert_gate_quantize


SILU = _gates("silu", _silu)
"""gate · sigmoid(gate) · up"""
GELU = _gates("gelu", _gelu)
"""gate · Φ(gate) · up"""
GELU_TANH = _gates("gelu_tanh", _gelu_tanh)
"""The same in gelu's tanh form."""
LIMITED_SILU = _gates("limited_silu", _limited_silu)
"""As `SILU`, of a gate that is at most the limit, and an up between minus the limit and the limit."""
LIMITED_PAIRS = _gates("limited_pairs", _limited_pair, are_pairs=True)
"""The gate of gpt-oss, of neighbours."""
LIMITED_HALVES = _gates("limited_halves", _limited_pair)
"""The same of a gate and an up that are apart."""
RELU_2 = _gates("relu_2", _relu_2)
"""max(gate, 0)²: there is no up."""
