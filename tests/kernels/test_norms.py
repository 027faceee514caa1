"""RMSNorm, alone and after a sum, and LayerNorm against their definitions in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.elementwise import add_rms_norm, rms_norm
from ftllm_nb.kernels.layer_norms import LAYER_NORM, layer_norm_kernel
from ftllm_nb.kernels.step import STEP_TOKENS
from tests.kernels.kernel_runs import UNIT, Doubles, Floats, Rows, run

EPS = 1e-6
SIZES = st.sampled_from([1, 3, 15, 16, 17, 31, 64, 65, 1000])
TOKENS = st.sampled_from([1, 2, 5])
GAPS = st.sampled_from([0, 1, 16, 35])
SEEDS = st.integers(0, 9)


def normalized(x: Floats, weight: Floats) -> Doubles:
    """x / sqrt(mean(x²) + eps) · weight of each run of as many features as the weight has."""
    runs = x.astype(np.float64).reshape(len(x), -1, len(weight))
    mean_square = np.square(runs).mean(-1, keepdims=True)
    return (runs / np.sqrt(mean_square + EPS) * weight.astype(np.float64)).reshape(x.shape)


def assert_normalized(got: Floats, x: Floats, weight: Floats) -> None:
    """Within the roundings of float32: nothing cancels, so errors are relative.

    A lane adds up size / 16 squares and four more additions fold the lanes; mean, eps and its sum add three, of all of
    which the root takes half; the root itself, its inverse and two products add four.
    """
    roundings = (np.ceil(len(weight) / 16) + 4 + 3) / 2 + 4
    expected = normalized(x, weight)
    np.testing.assert_allclose(got, expected, rtol=1.01 * roundings * UNIT, atol=0)


def weight_of(size: int, random: np.random.Generator) -> Floats:
    return random.uniform(-2, 2, size).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    tokens=TOKENS, size=SIZES, groups=st.sampled_from([1, 2, 5]), gap=GAPS, exponent=st.integers(-20, 20), seed=SEEDS
)
def test_each_run_of_features_is_normalized(
    tokens: int, size: int, groups: int, gap: int, exponent: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    scale = np.float32(2.0**exponent)
    source = Rows(random.standard_normal((tokens, groups * size), np.float32) * scale, gap)
    before, weight = source.values.copy(), weight_of(size, random)
    target = Rows.unwritten(tokens, groups * size, gap + 3)
    run(rms_norm, tokens, source.address, source.stride, target.address, target.stride, weight.ctypes.data, size,
        groups, EPS, STEP_TOKENS)  # fmt: skip
    assert_normalized(target.values, before, weight)
    np.testing.assert_array_equal(source.values, before)
    target.assert_marks()


@settings(max_examples=20, deadline=None)
@given(tokens=TOKENS, size=SIZES, groups=st.sampled_from([1, 3]), gap=GAPS, seed=SEEDS)
def test_in_place(tokens: int, size: int, groups: int, gap: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = Rows(random.standard_normal((tokens, groups * size), np.float32), gap)
    before, weight = rows.values.copy(), weight_of(size, random)
    run(rms_norm, tokens, rows.address, rows.stride, rows.address, rows.stride, weight.ctypes.data, size, groups, EPS,
        STEP_TOKENS)  # fmt: skip
    assert_normalized(rows.values, before, weight)
    rows.assert_marks()


@settings(max_examples=60, deadline=None)
@given(
    tokens=TOKENS,
    size=SIZES,
    groups=st.sampled_from([1, 1, 2, 5]),
    gaps=st.tuples(GAPS, GAPS, GAPS),
    alpha=st.sampled_from([1.0, -0.5, 0.37]),
    seed=SEEDS,
)
def test_the_sum_stays_in_the_input_and_its_norm_is_the_output(
    tokens: int, size: int, groups: int, gaps: tuple[int, int, int], alpha: float, seed: int
) -> None:
    random, features = np.random.default_rng(seed), groups * size
    first = Rows(random.standard_normal((tokens, features), np.float32), gaps[0])
    added = Rows(random.standard_normal((tokens, features), np.float32), gaps[1])
    target = Rows.unwritten(tokens, features, gaps[2])
    before, addend, weight = first.values.copy(), added.values.copy(), weight_of(size, random)
    run(add_rms_norm, tokens, first.address, first.stride, target.address, target.stride, weight.ctypes.data, size,
        groups, EPS, STEP_TOKENS, added.address, added.stride, alpha)  # fmt: skip
    exact = before.astype(np.float64) + float(np.float32(alpha)) * addend.astype(np.float64)
    np.testing.assert_allclose(first.values, exact, rtol=1.01 * UNIT, atol=0, err_msg="one rounding")
    assert_normalized(target.values, first.values, weight)
    np.testing.assert_array_equal(added.values, addend)
    first.assert_marks()
    target.assert_marks()


@settings(max_examples=60, deadline=None)
@given(
    tokens=TOKENS, size=SIZES, groups=st.sampled_from([1, 5]), gap=GAPS, mean=st.sampled_from([0, 3, -50]), seed=SEEDS
)
def test_layer_norm(tokens: int, size: int, groups: int, gap: int, mean: int, seed: int) -> None:
    """Rounding the mean costs a unit of it for each addition; what is left is divided by the deviation."""
    random = np.random.default_rng(seed)
    source = Rows(random.standard_normal((tokens, groups * size), np.float32) + np.float32(mean), gap)
    target = Rows.unwritten(tokens, groups * size, gap + 3)
    weight, bias = weight_of(size, random), weight_of(size, random)
    run_layer_norm(source, target, weight, bias, groups)
    assert_centred(target.values, source.values, np.tile(weight, groups), np.tile(bias, groups), groups)
    target.assert_marks()


def test_layer_norm_of_runs_with_weights_of_their_own() -> None:
    """A run's weights begin at a multiple of 16 floats."""
    random = np.random.default_rng(1)
    source, target = Rows(random.standard_normal((3, 60), np.float32)), Rows.unwritten(3, 60)
    weight, bias = (np.zeros((3, 32), np.float32) for _ in range(2))
    for each in (weight, bias):
        each[:, :20] = random.uniform(-2, 2, (3, 20))
    run_layer_norm(source, target, weight, bias, 3, step=128)
    assert_centred(target.values, source.values, weight[:, :20].ravel(), bias[:, :20].ravel(), 3)


@pytest.mark.parametrize("alpha", [1.0, -0.3])
def test_layer_norm_after_a_sum(alpha: float) -> None:
    random = np.random.default_rng(2)
    source, added = (Rows(random.standard_normal((2, 34), np.float32)) for _ in range(2))
    target, before = Rows.unwritten(2, 34), source.values.copy()
    weight, bias = weight_of(17, random), weight_of(17, random)
    run_layer_norm(source, target, weight, bias, 2, added=(added, alpha))
    exact = before.astype(np.float64) + float(np.float32(alpha)) * added.values.astype(np.float64)
    np.testing.assert_allclose(source.values, exact, rtol=1.01 * UNIT, atol=0, err_msg="one rounding")
    assert_centred(target.values, source.values, np.tile(weight, 2), np.tile(bias, 2), 2)
    target.assert_marks()


def run_layer_norm(
    source: Rows, target: Rows, weight: Floats, bias: Floats, groups: int, step: int = 0,
    added: tuple[Rows, float] | None = None,
) -> None:  # fmt: skip
    tokens, features = source.values.shape
    row = LAYER_NORM.values(
        input=source.address, input_stride=source.stride, output=target.address, output_stride=target.stride,
        weight=weight.ctypes.data, weight_step=step, bias=bias.ctypes.data, bias_step=step, size=features // groups,
        groups=groups, eps=EPS, count=STEP_TOKENS, added=added[0].address if added else 0,
        added_stride=added[0].stride if added else 0, alpha=added[1] if added else 0.0, columns=0, group=0, middle=0,
    )  # fmt: skip
    run(layer_norm_kernel(added is not None, False), tokens, *row)


def assert_centred(got: Floats, x: Floats, weight: Floats, bias: Floats, groups: int) -> None:
    runs = x.astype(np.float64).reshape(len(x), groups, -1)
    weight, bias = weight.reshape(groups, -1), bias.reshape(groups, -1)
    centred = runs - runs.mean(-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(-1, keepdims=True) + EPS)
    expected = centred / deviation * weight + bias
    largest = np.abs(runs).max(-1, keepdims=True)
    lost = UNIT * (np.ceil(runs.shape[-1] / 16) + 8) * (largest + np.abs(centred)) / deviation
    bound = 2 * lost * np.abs(weight) + 4 * UNIT * np.abs(expected) + 4 * UNIT * np.abs(bias)
    assert (np.abs(got.reshape(runs.shape) - expected) <= bound).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_shows_in_its_own_run_alone(value: float) -> None:
    x = np.ones((2, 40), np.float32)
    x[1, 37] = value
    source, target, weight = Rows(x), Rows.unwritten(2, 40), np.ones(20, np.float32)
    run(rms_norm, 2, source.address, source.stride, target.address, target.stride, weight.ctypes.data, 20, 2, EPS,
        STEP_TOKENS)  # fmt: skip
    assert np.isnan(target.values[1, 37])
    assert_normalized(target.values[:1], x[:1], weight)
    assert_normalized(target.values[1:, :20], x[1:, :20], weight)


def test_zeros_stay_zeros() -> None:
    source, target, weight = Rows(np.zeros((1, 33), np.float32)), Rows.unwritten(1, 33), np.ones(33, np.float32)
    run(rms_norm, 1, source.address, source.stride, target.address, target.stride, weight.ctypes.data, 33, 1, EPS,
        STEP_TOKENS)  # fmt: skip
    assert (target.values == 0).all()
