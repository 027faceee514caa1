"""Cuts above the mean and matched magnitudes against their definitions in double precision."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.magnitudes import cut_below, match_magnitude
from ftllm_nb.kernels.step import STEP_TOKENS
from tests.kernels.kernel_runs import Rows, run
from tests.ops.operator_runs import compute

SIZES = st.sampled_from([1, 3, 15, 16, 17, 31, 64, 65, 1000])
TOKENS = st.sampled_from([1, 2, 5])
GAPS = st.sampled_from([0, 1, 35])
SEEDS = st.integers(0, 9)


@settings(max_examples=40, deadline=None)
@given(tokens=TOKENS, size=SIZES, gap=GAPS, shift=st.sampled_from([-2.0, 0.0, 1.0]),
       multiplier=st.sampled_from([-0.5, 0.0, 1.6449]), seed=SEEDS)  # fmt: skip
def test_what_lies_above_the_cut(
    tokens: int, size: int, gap: int, shift: float, multiplier: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    source = Rows(random.standard_normal((tokens, size), np.float32) + np.float32(shift), gap)
    target = Rows.unwritten(tokens, size, gap + 3)
    run(cut_below, tokens, source.address, source.stride, 0, 0, target.address, target.stride, size, STEP_TOKENS,
        multiplier)  # fmt: skip
    x = source.values.astype(np.float64)
    expected = np.maximum(x - x.mean(-1, keepdims=True) - np.float32(multiplier) * x.std(-1, keepdims=True), 0)
    np.testing.assert_allclose(target.values, expected, atol=1e-5)
    target.assert_marks()
    reference = compute("GaussianTopK", input=source.values[None].copy(), multiplier=multiplier)
    np.testing.assert_allclose(reference[0], expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(tokens=TOKENS, size=SIZES, gap=GAPS, scale=st.sampled_from([0.0, 1e-4, 1.0, 1e4]), seed=SEEDS)
def test_magnitudes_are_matched(tokens: int, size: int, gap: int, scale: float, seed: int) -> None:
    """Features whose mean square is below eps grow as if it were eps."""
    random = np.random.default_rng(seed)
    source = Rows(random.standard_normal((tokens, size), np.float32) * np.float32(scale), gap)
    like = Rows(3 * random.standard_normal((tokens, size), np.float32), gap + 1)
    target = Rows.unwritten(tokens, size, gap + 3)
    run(match_magnitude, tokens, source.address, source.stride, like.address, like.stride, target.address,
        target.stride, size, STEP_TOKENS, 1e-5)  # fmt: skip
    x, y = source.values.astype(np.float64), like.values.astype(np.float64)
    own = np.maximum(np.square(x).mean(-1, keepdims=True), np.float32(1e-5))
    expected = x * np.sqrt(np.square(y).mean(-1, keepdims=True) / own)
    np.testing.assert_allclose(target.values, expected, rtol=2e-5)
    target.assert_marks()
    given_arrays = {"input": source.values[None].copy(), "like": like.values[None].copy()}
    np.testing.assert_allclose(compute("MatchMagnitude", **given_arrays, eps=1e-5)[0], expected, rtol=2e-5)
