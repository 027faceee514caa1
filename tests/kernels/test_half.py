"""float16 by integer arithmetic equals NumPy's conversions, for every float16 and around every rounding."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core import types

from ftllm_nb.kernels.emit import F16, emitted, load, store
from ftllm_nb.kernels.half import narrow_half_by_integers, widen_half_by_integers
from ftllm_nb.kernels.simd import V_F16, V_F32

EVERY_HALF = np.arange(2**16, dtype=np.uint16).view(np.float16)


@emitted(types.void, types.int64, types.int64)
def widen_one(builder, source, target):
    store(builder, widen_half_by_integers(builder, load(builder, source, F16, 2)), target, 4)


@emitted(types.void, types.int64, types.int64)
def widen_vector(builder, source, target):
    store(builder, widen_half_by_integers(builder, load(builder, source, V_F16, 2)), target, 4)


@emitted(types.void, types.int64, types.int64)
def narrow_one(builder, source, target):
    store(builder, narrow_half_by_integers(builder, load(builder, source, V_F32.element, 4)), target, 2)


@emitted(types.void, types.int64, types.int64)
def narrow_vector(builder, source, target):
    store(builder, narrow_half_by_integers(builder, load(builder, source, V_F32, 4)), target, 2)


@numba.njit
def widen(source, target, count, vectors):
    for at in range(0, count, 16 if vectors else 1):
        if vectors:
            widen_vector(source + 2 * at, target + 4 * at)
        else:
            widen_one(source + 2 * at, target + 4 * at)


@numba.njit
def narrow(source, target, count, vectors):
    for at in range(0, count, 16 if vectors else 1):
        if vectors:
            narrow_vector(source + 4 * at, target + 2 * at)
        else:
            narrow_one(source + 4 * at, target + 2 * at)


@pytest.mark.parametrize("vectors", [False, True])
def test_every_half_is_widened(vectors: bool) -> None:
    widened = np.empty(len(EVERY_HALF), np.float32)
    widen(EVERY_HALF.ctypes.data, widened.ctypes.data, len(EVERY_HALF), vectors)
    numbers = ~np.isnan(EVERY_HALF)
    np.testing.assert_array_equal(
        widened[numbers].view(np.uint32), EVERY_HALF[numbers].astype(np.float32).view(np.uint32)
    )
    assert np.isnan(widened[~numbers]).all()


@pytest.mark.parametrize("vectors", [False, True])
def test_floats_are_rounded_to_the_nearest_half(vectors: bool) -> None:
    finite = np.sort(EVERY_HALF[np.isfinite(EVERY_HALF)].astype(np.float32))
    ties = (finite[1:] + finite[:-1]) / 2
    edges = np.array([65519.996, 65520, 65536, 1e38, np.inf, 2.0**-25, 2.0**-26, 1e-45, 0.0], np.float32)
    random = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    floats = np.concatenate(
        [finite, ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf), edges, -edges, random]
    )
    floats = np.resize(floats.astype(np.float32), len(floats) // 16 * 16 + 16)
    halves = np.empty(len(floats), np.float16)
    narrow(floats.ctypes.data, halves.ctypes.data, len(floats), vectors)
    numbers = ~np.isnan(floats)
    with np.errstate(over="ignore"):
        expected = floats.astype(np.float16)
    np.testing.assert_array_equal(halves[numbers].view(np.uint16), expected[numbers].view(np.uint16))
    assert np.isnan(halves[~numbers]).all()
