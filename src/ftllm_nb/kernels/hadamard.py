"""Hadamard's matrix times a vector: sums and differences that spread a few large features over all of them.

Activations and keys of trained models have features that are ten times as large as the others, the same in all tokens.
A scale that they share with others leaves those few steps. All features of a vector times Hadamard's matrix are about
as large as each other. The matrix is symmetric, and times itself it is its size times the unit matrix: (Hq) · (Hk) is
the size times q · k. The size is a power of two, so that what it multiplies keeps its digits. ftllm_nb/hadamard.py is
the definition.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir

from ftllm_nb.hadamard import MOST_ROWS, hadamard_size, weights_share
from ftllm_nb.kernels.emit import I32, LANES, emitted, usable_in_kernels
from ftllm_nb.kernels.simd import V_F32, float32x16, load_vector, spread, store_vector

__all__ = ["MOST_ROWS", "hadamard_in_place", "hadamard_size", "spread_in_place", "weights_share"]

hadamard_size, weights_share = usable_in_kernels(hadamard_size), usable_in_kernels(weights_share)


@emitted(float32x16, float32x16)
def _lanes(builder, value):
    """The steps of 1, 2, 4 and 8 numbers."""
    undefined = ir.Constant(V_F32, ir.Undefined)
    for step in (1, 2, 4, 8):
        others = ir.Constant(ir.VectorType(I32, LANES), [lane ^ step for lane in range(LANES)])
        signs = ir.Constant(V_F32, [-1.0 if lane & step else 1.0 for lane in range(LANES)])
        value = builder.fadd(builder.shuffle_vector(value, undefined, others), builder.fmul(value, signs))
    return value


@numba.njit
def hadamard_in_place(floats, size):
    """Multiply the vector of `size` float32 at an address, a multiple of 16."""
    for at in range(0, 4 * size, 64):
        store_vector(floats + at, _lanes(load_vector(floats + at)))
    run, step = hadamard_size(size), 16
    while step < run:
        for begin in range(0, size, 2 * step):
            for at in range(floats + 4 * begin, floats + 4 * (begin + step), 64):
                first, second = load_vector(at), load_vector(at + 4 * step)
                store_vector(at, first + second)
                store_vector(at + 4 * step, first - second)
        step *= 2


@numba.njit
def spread_in_place(floats, size):
    """A group of weights as it is rounded where it is spread."""
    hadamard_in_place(floats, size)
    share = spread(np.float32(1.0) / np.float32(weights_share(size)))
    for at in range(0, 4 * size, 64):
        store_vector(floats + at, load_vector(floats + at) * share)
