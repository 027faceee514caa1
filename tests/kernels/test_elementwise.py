"""Activations, sums, products and copies of each token's features, against NumPy in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.elementwise import (
    add_constant,
    add_scaled,
    copy_runs,
    exp_each,
    gather_rows,
    gelu,
    gelu_multiply,
    gelu_tanh,
    gelu_tanh_multiply,
    multiply,
    relu,
    relu_2,
    scale,
    sigmoid_each,
    silu,
    silu_multiply,
    soft_cap,
    softplus,
    tanh_each,
)
from ftllm_nb.kernels.step import STEP_ROW_TOKENS, STEP_ROWS, STEP_TOKENS
from tests.kernels.kernel_runs import UNIT, Doubles, Floats, Rows, run

shapes = given(
    tokens=st.sampled_from([1, 2, 5]),
    size=st.sampled_from([1, 7, 15, 16, 17, 65, 1023, 1024, 1025, 2100]),
    gaps=st.tuples(*[st.sampled_from([0, 1, 16, 35])] * 3),
    seed=st.integers(0, 9),
)
few = settings(max_examples=40, deadline=None)

SILU_ROUNDINGS = 6 + 3
"""exp is within three units in the last place, which are six halves; 1 +, 1 / and · input are rounded."""
SILU_LOST = 6e-37
"""Below −88, sigmoid is 0: at most 88 · e^−88 is lost."""


def combined(kernel: Kernel, first: Floats, second: Floats, gaps: tuple[int, int, int], alpha: float = 1.0) -> Floats:
    """What the kernel writes: into its output and nowhere else."""
    a, b, out = Rows(first, gaps[0]), Rows(second, gaps[1]), Rows.unwritten(*first.shape, gaps[2])
    run(kernel, len(first), a.address, a.stride, b.address, b.stride, out.address, out.stride, first.shape[1],
        STEP_TOKENS, alpha)  # fmt: skip
    out.assert_marks()
    np.testing.assert_array_equal(a.values, first)
    np.testing.assert_array_equal(b.values, second)
    return out.values


def silu_in_double(x: Floats) -> Doubles:
    x = x.astype(np.float64)
    return x / (1 + np.exp(-x))


def drawn(tokens: int, size: int, seed: int) -> tuple[Floats, Floats]:
    """Two inputs over the whole range in which sigmoid is neither 0 nor 1, and a little beyond."""
    random = np.random.default_rng(seed)
    first = random.uniform(-95, 95, (tokens, size)) * random.choice([1, 0.03, 1e-6], (tokens, size))
    return first.astype(np.float32), random.standard_normal((tokens, size), np.float32)


@few
@shapes
def test_silu(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first, second = drawn(tokens, size, seed)
    got = combined(silu, first, second, gaps)
    np.testing.assert_allclose(got, silu_in_double(first), rtol=1.01 * SILU_ROUNDINGS * UNIT, atol=SILU_LOST)


@few
@shapes
def test_silu_multiply(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first, second = drawn(tokens, size, seed)
    got, expected = combined(silu_multiply, first, second, gaps), silu_in_double(first) * second
    bound = 1.01 * (SILU_ROUNDINGS + 1) * UNIT * np.abs(expected) + SILU_LOST * np.abs(second)
    assert (np.abs(got - expected) <= bound).all()


def gelu_in_double(x: Floats) -> Doubles:
    return np.array([0.5 * value * math.erfc(-value / math.sqrt(2)) for value in x.ravel().tolist()]).reshape(x.shape)


@few
@shapes
def test_gelu(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    """erfc is within 1.2e-7 of itself; its exponent x² / 2 is rounded, which costs as much again for each unit."""
    first = drawn(tokens, size, seed)[0] / 10
    got, expected = combined(gelu, first, first, gaps), gelu_in_double(first)
    bound = np.abs(expected) * (6e-7 + 2 * UNIT * first.astype(np.float64) ** 2) + 1e-36
    assert (np.abs(got - expected) <= bound).all()


@few
@shapes
def test_gelu_with_tanh(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first = drawn(tokens, size, seed)[0] / 10
    x = first.astype(np.float64)
    exponent = np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)
    expected = x / (1 + np.exp(-exponent))
    bound = np.abs(expected) * UNIT * (SILU_ROUNDINGS + 4 * np.abs(exponent)) + SILU_LOST
    assert (np.abs(combined(gelu_tanh, first, first, gaps) - expected) <= bound).all()


@few
@shapes
def test_gelu_multiply_is_gelu_and_a_product(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first, second = drawn(tokens, size, seed)
    for joined, alone in ((gelu_multiply, gelu), (gelu_tanh_multiply, gelu_tanh)):
        np.testing.assert_array_equal(
            combined(joined, first, second, gaps), combined(alone, first, first, gaps) * second
        )


@few
@shapes
def test_softplus(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    """e^−|x| is within six halves of a unit, the quotient and the series add six; then a sum."""
    first = drawn(tokens, size, seed)[0]
    expected = np.logaddexp(0, first.astype(np.float64))
    np.testing.assert_allclose(
        combined(softplus, first, first, gaps), expected, rtol=1.01 * (6 + 6 + 1) * UNIT, atol=2e-38
    )


def test_softplus_far_out() -> None:
    x = np.float32([[-np.inf, -3e38, -0.0, 3e38, np.inf, np.nan]])
    np.testing.assert_array_equal(
        combined(softplus, x, x, (0, 0, 0)), np.float32([[0, 0, np.log(2), 3e38, np.inf, np.nan]])
    )


@pytest.mark.parametrize("kernel", [gelu, gelu_tanh])
def test_gelu_far_out(kernel: Kernel) -> None:
    x = np.float32([[-3e38, -1e4, -40, -0.0, 0.0, 40, 1e4, 3e38]])
    np.testing.assert_array_equal(combined(kernel, x, x, (0, 0, 0)), [[0, 0, 0, 0, 0, 40, 1e4, np.float32(3e38)]])


@few
@shapes
def test_a_scaled_sum_is_rounded_once(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first, second = drawn(tokens, size, seed)
    alpha = float(np.float32(np.random.default_rng(seed).uniform(-3, 3)))
    exact = first + alpha * second.astype(np.float64)
    np.testing.assert_allclose(
        combined(add_scaled, first, second, gaps, alpha), exact, rtol=UNIT * (1 + 2.0**-20), atol=0
    )


@few
@shapes
def test_sums_and_products_with_a_constant(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first = drawn(tokens, size, seed)[0]
    for kernel, expected in ((add_constant, first + np.float32(0.37)), (scale, first * np.float32(0.37))):
        np.testing.assert_array_equal(combined(kernel, first, first, gaps, 0.37), expected)


@few
@shapes
def test_a_product_is_the_nearest_float(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first, second = drawn(tokens, size, seed)
    exact = first.astype(np.float64) * second.astype(np.float64)
    np.testing.assert_array_equal(combined(multiply, first, second, gaps), exact.astype(np.float32))


@few
@shapes
def test_one_function_of_each_feature(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first = drawn(tokens, size, seed)[0] / 3
    x = first.astype(np.float64)
    for kernel, expected, roundings in (
        (sigmoid_each, 1 / (1 + np.exp(-x)), SILU_ROUNDINGS),
        (tanh_each, np.tanh(x), 6),
        (relu, np.maximum(x, 0), 0),
        (relu_2, np.maximum(x, 0) ** 2, 1),
        (exp_each, np.exp(x), 6),
    ):
        got = combined(kernel, first, first, gaps)
        np.testing.assert_allclose(got, expected, rtol=1.01 * roundings * UNIT, atol=0)


@few
@shapes
def test_soft_cap(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    """The quotient is rounded, which costs tanh no more than its own relative error does; then a product."""
    first = drawn(tokens, size, seed)[0]
    cap = np.float32(np.random.default_rng(seed).uniform(0.5, 60))
    expected = float(cap) * np.tanh(first.astype(np.float64) / float(cap))
    np.testing.assert_allclose(combined(soft_cap, first, first, gaps, float(cap)), expected, rtol=8.1 * UNIT, atol=0)


@pytest.mark.parametrize("kernel", [silu, gelu, gelu_tanh, silu_multiply, add_scaled, multiply])
def test_what_is_no_number_stays_none_and_moves_no_neighbour(kernel: Kernel) -> None:
    first, second = np.full((2, 21), 3, np.float32), np.full((2, 21), 2, np.float32)
    clean = combined(kernel, first, second, (0, 0, 0))
    first[0, 4], first[1, 20] = np.nan, np.inf
    got = combined(kernel, first, second, (0, 0, 0))
    assert np.isnan(got[0, 4]) and got[1, 20] == np.inf
    others = np.isfinite(first)
    np.testing.assert_array_equal(got[others], clean[others])


@few
@shapes
def test_the_output_may_be_an_input(tokens: int, size: int, gaps: tuple[int, int, int], seed: int) -> None:
    first, second = drawn(tokens, size, seed)
    for kernel in (silu, silu_multiply, add_scaled, multiply):
        rows, other = Rows(first, gaps[0]), Rows(second, gaps[1])
        run(kernel, tokens, rows.address, rows.stride, other.address, other.stride, rows.address, rows.stride, size,
            STEP_TOKENS, 0.5)  # fmt: skip
        np.testing.assert_array_equal(rows.values, combined(kernel, first, second, gaps, 0.5))
        rows.assert_marks()


@few
@given(
    tokens=st.sampled_from([1, 2, 9]),
    size=st.sampled_from([1, 15, 16, 17, 65]),
    gaps=st.tuples(*[st.sampled_from([0, 1, 16])] * 2),
    wanted=st.lists(st.integers(0, 8), max_size=5),
)
def test_rows_of_the_wanted_tokens_are_gathered(
    tokens: int, size: int, gaps: tuple[int, int], wanted: list[int]
) -> None:
    source = Rows(np.random.default_rng(size).standard_normal((tokens, size), np.float32), gaps[0])
    chosen = np.array(wanted, np.int32) % tokens
    out = Rows.unwritten(len(chosen), size, gaps[1])
    run(gather_rows, tokens, source.address, source.stride, 0, 0, out.address, out.stride, size,
        fields={STEP_ROWS: len(chosen), STEP_ROW_TOKENS: chosen.ctypes.data})  # fmt: skip
    np.testing.assert_array_equal(out.values, source.values[chosen])
    out.assert_marks()


@few
@given(
    tokens=st.sampled_from([1, 2, 9]),
    size=st.sampled_from([1, 15, 16, 17, 65]),
    number=st.sampled_from([1, 2, 5]),
    between=st.tuples(*[st.sampled_from([0, 1, 16])] * 2),
    gaps=st.tuples(*[st.sampled_from([0, 1, 16])] * 2),
)
def test_runs_are_copied_and_what_lies_between_them_is_kept(
    tokens: int, size: int, number: int, between: tuple[int, int], gaps: tuple[int, int]
) -> None:
    steps = [size + gap for gap in between]
    random = np.random.default_rng(size)
    source = Rows(random.standard_normal((tokens, number * steps[0]), np.float32), gaps[0])
    target = Rows(random.standard_normal((tokens, number * steps[1]), np.float32), gaps[1])
    expected = target.values.copy()
    for at in range(number):
        expected[:, at * steps[1] :][:, :size] = source.values[:, at * steps[0] :][:, :size]
    run(copy_runs, tokens, source.address, source.stride, 4 * steps[0], target.address, target.stride, 4 * steps[1],
        size, number, STEP_TOKENS)  # fmt: skip
    np.testing.assert_array_equal(target.values, expected)
    target.assert_marks()
