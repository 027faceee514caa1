"""LayerNorm of each token's runs of features: alone or after a sum, into floats or 8 bits."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.elementwise import add_to
from ftllm_nb.kernels.memory import store_f32
from ftllm_nb.kernels.quantize import quantize_groups
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import fma, load_vector_partial, spread, store_vector_partial, sum_lanes
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, scalar, take_chunk

LAYER_NORM = row_fields(
    "input", "input_stride", "output", "output_stride", "weight", "weight_step", "bias", "bias_step", "size", "groups",
    "eps", "count", "added", "added_stride", "alpha", "columns", "group", "middle",
)  # fmt: skip
"""Arguments of the rows: each token has `groups` runs of `size` features, each normalized on its own. `…_step`: bytes
from a run's weights to those of the next, 0 where all share them. `count`: the step's field with the number of tokens.
`added …` and `alpha`: of kernels that add first; `columns`, `group`, `middle`: of those that quantize."""


@numba.njit
def _centre(source, target, weight, bias, size, eps):
    """target = (source − mean) / sqrt(variance + eps) · weight + bias."""
    total = spread(0.0)
    for at in range(0, size, 16):
        total = total + load_vector_partial(source + 4 * at, size - at)
    mean, squares = spread(sum_lanes(total) / np.float32(size)), spread(0.0)
    for at in range(0, size, 16):
        value = load_vector_partial(source + 4 * at, size - at) - mean
        store_vector_partial(target + 4 * at, value, size - at)
        value = load_vector_partial(target + 4 * at, size - at)  # lanes beyond the end are zero again
        squares = fma(value, value, squares)
    variance = sum_lanes(squares) / np.float32(size)
    factor = spread(np.float32(1.0) / np.sqrt(variance + eps))
    for at in range(0, size, 16):
        value = load_vector_partial(target + 4 * at, size - at) * factor
        factors, added = load_vector_partial(weight + 4 * at, size - at), load_vector_partial(bias + 4 * at, size - at)
        store_vector_partial(target + 4 * at, fma(value, factors, added), size - at)


@functools.cache
def layer_norm_kernel(adds: bool, quantizes: bool) -> Kernel:
    """LayerNorm of the runs; `adds`: input += alpha · added in place before it; `quantizes`: into 8 bits. A chunk is a
    token."""

    @kernel(variant=f"{int(adds)}{int(quantizes)}")
    def layer_norm(row, step, worker):
        size, groups = argument(row, LAYER_NORM.size), argument(row, LAYER_NORM.groups)
        num_tokens = field(step, argument(row, LAYER_NORM.count))
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            source = argument(row, LAYER_NORM.input) + token * argument(row, LAYER_NORM.input_stride)
            output = argument(row, LAYER_NORM.output) + token * argument(row, LAYER_NORM.output_stride)
            if adds:
                added = argument(row, LAYER_NORM.added) + token * argument(row, LAYER_NORM.added_stride)
                add_to(source, added, size * groups, scalar(row, LAYER_NORM.alpha))
            target = output
            if quantizes:
                target = field(worker, WORKER_SCRATCH)
            for run in range(groups):
                weight = argument(row, LAYER_NORM.weight) + run * argument(row, LAYER_NORM.weight_step)
                bias = argument(row, LAYER_NORM.bias) + run * argument(row, LAYER_NORM.bias_step)
                offset = run * size * 4
                _centre(source + offset, target + offset, weight, bias, size, scalar(row, LAYER_NORM.eps))
            if quantizes:
                columns, group = argument(row, LAYER_NORM.columns), argument(row, LAYER_NORM.group)
                for at in range(size * groups, columns):
                    store_f32(target + 4 * at, np.float32(0.0))
                middle = argument(row, LAYER_NORM.middle)
                quantize_groups(target, output, columns, group, 0, columns // group, middle)
            token = take_chunk(worker, num_tokens)

    return layer_norm
