"""Rotations of parts of heads and of neighbours against complex products in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.rotation import rotate_kernel
from ftllm_nb.kernels.step import STEP_POSITIONS
from tests.kernels.kernel_runs import UNIT, Rows, run


@pytest.mark.parametrize("neighbours", [False, True])
@settings(max_examples=50, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 9]), heads=st.sampled_from([1, 3]), rest=st.sampled_from([0, 1, 16]),
    half=st.sampled_from([1, 2, 7, 8, 9, 16, 17, 32]), gap=st.sampled_from([0, 1, 16]), seed=st.integers(0, 9),
)  # fmt: skip
def test_pairs_turn_and_the_rest_stays(
    neighbours: bool, tokens: int, heads: int, rest: int, half: int, gap: int, seed: int
) -> None:
    random, dim = np.random.default_rng(seed), 2 * half + rest
    rows = Rows(random.standard_normal((tokens, heads * dim), np.float32), gap)
    before = rows.values.astype(np.float64).reshape(tokens, heads, dim)
    angles = random.uniform(-9, 9, (50, half))
    sin, cos = np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)
    positions = random.integers(0, 50, tokens).astype(np.int32)
    run(rotate_kernel(neighbours), tokens, rows.address, rows.stride, heads, dim, 1 if neighbours else half, half,
        sin.ctypes.data, cos.ctypes.data, sin.strides[0], fields={STEP_POSITIONS: positions.ctypes.data})  # fmt: skip
    first, second = slice(half), slice(half, 2 * half)
    if neighbours:
        first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    turned = (before[..., first] + 1j * before[..., second]) * (cos + 1j * sin.astype(np.float64))[positions, None]
    got = rows.values.reshape(tokens, heads, dim)
    size = np.abs(before[..., first]) + np.abs(before[..., second])
    assert (np.abs(got[..., first] - turned.real) <= 2 * UNIT * size).all()
    assert (np.abs(got[..., second] - turned.imag) <= 2 * UNIT * size).all()
    np.testing.assert_array_equal(got[..., 2 * half :], before[..., 2 * half :])
    rows.assert_marks()
