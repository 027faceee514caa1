"""Kernels on runs of features against NumPy in double precision, at the edges of vectors, with room between rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.runs import (
    add_shared_number,
    add_shared_vector,
    limited_pairs,
    multiply_shared_number,
    multiply_shared_vector,
    permute,
    scale_by_position,
    silu_pairs,
    softmax,
)
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKENS
from tests.kernels.kernel_runs import UNIT, Floats, Rows, run

few = settings(max_examples=40, deadline=None)
SIZES = st.sampled_from([1, 2, 15, 16, 17, 31, 33, 64, 100])
GAPS = st.tuples(*[st.sampled_from([0, 1, 16])] * 3)
shapes = given(
    tokens=st.sampled_from([1, 2, 5]), runs=st.sampled_from([1, 2, 7]), size=SIZES, gaps=GAPS, seed=st.integers(0, 9)
)


def normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def softened(x: Floats, gaps: tuple[int, int] = (0, 0)) -> Floats:
    """The kernel's softmax of [tokens, runs, size]."""
    tokens, runs, size = x.shape
    source, target = Rows(x.reshape(tokens, -1), gaps[0]), Rows.unwritten(tokens, runs * size, gaps[1])
    run(softmax, tokens, source.address, source.stride, target.address, target.stride, size, runs, STEP_TOKENS)
    target.assert_marks()
    return target.values.reshape(x.shape)


@few
@shapes
def test_softmax(tokens: int, runs: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    """The shift is exact up to half a unit of itself, at most 40 here; exp and the sum's rounding follow."""
    x = 5 * normal(seed, tokens, runs, size) - np.float32(30)
    powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    expected = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(softened(x, gaps[:2]), expected, rtol=(40 + 6 + 10 + 3) * UNIT, atol=1e-37)


def test_softmax_far_out() -> None:
    """Rows far below zero add up to 1, which fastllm's do not; what is masked weighs nothing."""
    x = np.float32([[[-1e4, -1e4, -1e4], [3e38, 0, -3e38], [-np.inf, 1, 1], [np.nan, 1, 1]]])
    expected = [[[1 / 3] * 3, [1, 0, 0], [0, 0.5, 0.5], [np.nan] * 3]]
    np.testing.assert_allclose(softened(x), expected, rtol=3 * UNIT)


@pytest.mark.parametrize("is_vector", [False, True])
@few
@shapes
def test_what_runs_share(
    is_vector: bool, tokens: int, runs: int, size: int, gaps: tuple[int, int, int], seed: int
) -> None:
    """A number for each run of each token, and a vector for all runs of all tokens."""
    first = normal(seed, tokens, runs, size)
    other = normal(seed + 1, 1, size) if is_vector else normal(seed + 1, tokens, runs)
    second = Rows(other, gaps[1])
    stride, step = (0, 0) if is_vector else (second.stride, 4)
    spread = other if is_vector else other[..., None]
    alpha = np.float32(-0.7)
    exact = first + float(alpha) * spread.astype(np.float64)
    adds, multiplies = (
        (add_shared_vector, multiply_shared_vector) if is_vector else (add_shared_number, multiply_shared_number)
    )
    for kernel, expected in ((adds, exact), (multiplies, first.astype(np.float64) * spread)):
        source, out = Rows(first.reshape(tokens, -1), gaps[0]), Rows.unwritten(tokens, runs * size, gaps[2])
        run(kernel, tokens, source.address, source.stride, second.address, stride, step, out.address, out.stride,
            size, runs, STEP_TOKENS, float(alpha))  # fmt: skip
        out.assert_marks()
        np.testing.assert_allclose(out.values.reshape(first.shape), expected, rtol=UNIT * (1 + 2.0**-20), atol=0)


def paired(kernel: Kernel, x: Floats, gaps: tuple[int, int], alpha: float = 0.0, limit: float = 0.0) -> Floats:
    tokens, features = x.shape
    source, out = Rows(x, gaps[0]), Rows.unwritten(tokens, features // 2, gaps[1])
    run(kernel, tokens, source.address, source.stride, out.address, out.stride, features // 2, STEP_TOKENS, alpha,
        limit)  # fmt: skip
    out.assert_marks()
    return out.values


@few
@given(tokens=st.sampled_from([1, 2, 5]), size=SIZES, gaps=GAPS, seed=st.integers(0, 9))
def test_gates_of_pairs(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    x = 5 * normal(seed, tokens, 2 * size)
    gate, up = x[:, ::2].astype(np.float64), x[:, 1::2].astype(np.float64)
    got = paired(silu_pairs, x, gaps[:2])
    np.testing.assert_allclose(got, gate / (1 + np.exp(-gate)) * up, rtol=10 * UNIT)
    got = paired(limited_pairs, x, gaps[:2], 1.702, 7.0)
    gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
    expected = (up + 1) * gate / (1 + np.exp(-float(np.float32(1.702)) * gate))
    np.testing.assert_allclose(got, expected, rtol=(12 + 13) * UNIT, atol=UNIT * 7)


def test_what_is_no_number_passes_the_limits() -> None:
    x = np.float32([[np.nan, 1, 1, np.nan, np.inf, np.inf]])
    got = paired(limited_pairs, x, (0, 0), 1.702, 7.0)
    assert np.isnan(got[0, :2]).all()
    assert got[0, 2] == pytest.approx(8 * 7 / (1 + math.exp(-1.702 * 7)))


@few
@given(tokens=st.sampled_from([1, 2, 5]), size=SIZES, gap=st.sampled_from([0, 1, 16]), seed=st.integers(0, 9))
def test_each_token_is_multiplied_by_the_factor_of_its_position(tokens: int, size: int, gap: int, seed: int) -> None:
    x, factors = normal(seed, tokens, size), normal(seed + 1, 50)
    positions = np.random.default_rng(seed).integers(0, 50, tokens).astype(np.int32)
    rows = Rows(x, gap)
    run(scale_by_position, tokens, rows.address, rows.stride, size, factors.ctypes.data,
        fields={STEP_POSITIONS: positions.ctypes.data})  # fmt: skip
    np.testing.assert_array_equal(rows.values, x * factors[positions, None])
    rows.assert_marks()


@few
@given(
    tokens=st.sampled_from([1, 3]), sizes=st.tuples(*[st.sampled_from([1, 2, 3, 5, 17])] * 4),
    order=st.permutations(range(4)), gaps=GAPS,
)  # fmt: skip
def test_permute(tokens: int, sizes: tuple[int, ...], order: list[int], gaps: tuple[int, int, int]) -> None:
    x = normal(1, tokens, *sizes)
    features = math.prod(sizes)
    source, out = Rows(x.reshape(tokens, features), gaps[0]), Rows.unwritten(tokens, features, gaps[1])
    steps = [4 * math.prod(sizes[axis + 1 :]) for axis in range(4)]
    run(permute, tokens, source.address, source.stride, out.address, out.stride, STEP_TOKENS,
        *[sizes[axis] for axis in order], *[steps[axis] for axis in order])  # fmt: skip
    expected = x.transpose(0, *[1 + axis for axis in order]).reshape(tokens, features)
    np.testing.assert_array_equal(out.values, expected)
    out.assert_marks()
