"""Round to nearest: a group's steps reach just as far as its weights; the scales of `--dtype` while a model loads.

Symmetric: the largest magnitude is half the steps (7.5 or 127.5). Asymmetric: the steps go from the smallest weight to
the largest one, 0 included.
"""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import bits_float
from ftllm_nb.kernels.pack_integers import largest_bits
from ftllm_nb.kernels.quantize_rows import as_half, bounds, nearest, rows_walker


@numba.njit
def _choose(floats, size, middle, symmetric):
    if symmetric:
        return as_half(bits_float(largest_bits(floats, size)) / np.float32(middle - 0.5)), middle
    low, high = bounds(floats, size)
    scale = as_half((high - low) / np.float32(2 * middle - 1))
    if scale == 0:
        return scale, middle
    return scale, min(max(np.int64(nearest(-low / scale)), 0), 2 * middle - 1)


_walk = rows_walker(_choose)


@kernel()
def rows_kernel(row, step, worker):
    """See methods/__init__.py."""
    _walk(row, worker)
