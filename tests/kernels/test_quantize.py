"""Activations to 8 bits: the steps against the definition in double precision, the fused kernels against the chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.elementwise import (
    add_rms_norm,
    gelu,
    gelu_multiply,
    gelu_tanh,
    gelu_tanh_multiply,
    rms_norm,
    silu_multiply,
)
from ftllm_nb.kernels.layer_norms import LAYER_NORM, layer_norm_kernel
from ftllm_nb.kernels.quantize import (
    add_rms_norm_quantize,
    gelu_multiply_quantize,
    gelu_quantize,
    gelu_tanh_multiply_quantize,
    gelu_tanh_quantize,
    quantize,
    rms_norm_quantize,
    silu_multiply_quantize,
)
from ftllm_nb.kernels.step import STEP_TOKENS
from tests.kernels.kernel_runs import UNIT, Floats, Rows, run

EPS = 1e-6
FEATURES = st.sampled_from([1, 15, 31, 32, 33, 64, 100, 300, 1025, 2500])
GROUPS = st.sampled_from([0, 32, 64, 128])
TOKENS = st.sampled_from([1, 2, 5])
GAPS = st.sampled_from([0, 1, 16])
MIDDLES = st.sampled_from([8, 128])
SEEDS = st.integers(0, 9)
few = settings(max_examples=40, deadline=None)


@dataclass(frozen=True)
class Form:
    """How a token's row lies: int8 values [columns], then for each group a float32 scale, an int32 start, of which
    `read` takes the origin, and a float32 offset."""

    features: int
    columns: int
    group: int
    middle: int

    @classmethod
    def of(cls, features: int, group: int, middle: int) -> Form:
        """The form with the fewest columns; `group` 0 is one group a row."""
        multiple = group or 32
        columns = -(-features // multiple) * multiple
        return cls(features, columns, group or columns, middle)

    @property
    def groups(self) -> int:
        return self.columns // self.group

    def unwritten(self, tokens: int) -> Rows:
        """Rows of quantized activations, to be filled, with marks beside them."""
        return Rows.unwritten(tokens, self.columns // 4 + 3 * self.groups, gap=3)

    def read(self, rows: Rows) -> tuple[NDArray[np.int64], Floats, NDArray[np.int32]]:
        """Values [tokens, groups, columns of a group], scales and starts [tokens, groups]."""
        rows.assert_marks()
        words = np.ascontiguousarray(rows.values)
        values = words.view(np.int8)[:, : self.columns].reshape(len(words), self.groups, self.group)
        scales, starts, offsets = np.moveaxis(words[:, self.columns // 4 :].reshape(-1, self.groups, 3), -1, 0)
        finite = np.isfinite(scales)
        exact = scales.astype(np.float64) * -12582912
        np.testing.assert_array_equal(offsets[finite], exact[finite], "scales keep so few bits that offsets are exact")
        assert not np.isfinite(offsets[~finite]).any()
        origin = np.float32(12582912).view(np.int32)
        return values.astype(np.int64), scales, np.ascontiguousarray(starts).view(np.int32) - origin

    def grouped(self, x: Floats) -> Floats:
        """[tokens, features] padded with zeros, in groups."""
        padded = np.zeros((len(x), self.columns), np.float32)
        padded[:, : self.features] = x
        return padded.reshape(len(x), self.groups, self.group)


def quantized(form: Form, x: Floats, gap: int = 0) -> Rows:
    source, target = Rows(x, gap), form.unwritten(len(x))
    run(quantize, len(x), source.address, source.stride, source.address, source.stride, target.address, target.stride,
        form.features, form.columns, form.group, form.middle, STEP_TOKENS)  # fmt: skip
    return target


def kept(scales: Floats) -> Floats:
    """Scales without their last two bits."""
    return (scales.view(np.uint32) & np.uint32(0xFFFFFFFC)).view(np.float32)


def assert_same_bytes(got: Rows, expected: Rows) -> None:
    np.testing.assert_array_equal(got.values.view(np.uint32), expected.values.view(np.uint32))
    got.assert_marks()


@few
@given(
    tokens=TOKENS, features=FEATURES, group=GROUPS, middle=MIDDLES, gap=GAPS, exponent=st.integers(-80, 100), seed=SEEDS
)
def test_a_group_is_rounded_to_the_nearest_of_its_steps(
    tokens: int, features: int, group: int, middle: int, gap: int, exponent: int, seed: int
) -> None:
    """The factor 127 / largest and each product with it are rounded: of at most 127 steps, two units of 2^-24."""
    form = Form.of(features, group, middle)
    x = (np.random.default_rng(seed).standard_normal((tokens, features)) * 2.0**exponent).astype(np.float32)
    values, scales, starts = form.read(quantized(form, x, gap))
    groups = form.grouped(x).astype(np.float64)
    largest = np.abs(groups).max(-1)
    np.testing.assert_array_equal(scales, kept((largest / 127).astype(np.float32)))
    exact = groups * (127 / np.where(largest > 0, largest, 1))[..., None]
    assert (np.abs(values - exact) <= 0.5 + 127 * 2.02 * UNIT).all()
    np.testing.assert_array_equal(np.abs(values).max(-1), np.where(largest > 0, 127, 0))
    np.testing.assert_array_equal(starts, -middle * values.sum(-1))
    assert (values.reshape(tokens, -1)[:, features:] == 0).all(), "padding"


def test_ties_go_to_the_even_step() -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, :9] = (127, 0.5, 1.5, 2.5, 126.5, -0.5, -1.5, -2.5, -126.5)
    form = Form.of(32, 32, 128)
    values, scales, starts = form.read(quantized(form, x))
    np.testing.assert_array_equal(values[0, 0, :9], (127, 0, 2, 2, 126, 0, -2, -2, -126))
    assert scales.item() == 1 and starts.item() == -128 * 127


@pytest.mark.parametrize(("largest", "step"), [(0.0, 0), (1e-38, 0), (9.9e-31, 0), (1.1e-30, 127), (1e33, 127)])
def test_a_group_too_small_for_a_scale_becomes_zeros(largest: float, step: int) -> None:
    x = np.zeros((1, 64), np.float32)
    x[0, 40] = largest
    form = Form.of(64, 32, 8)
    values, scales, starts = form.read(quantized(form, x))
    assert values[0, 1, 8] == step and np.abs(values).sum() == step
    expected = np.float32(largest) / np.float32(127) if step else np.float32(0)
    np.testing.assert_array_equal(scales[0], kept(np.array([0, expected], np.float32)))
    np.testing.assert_array_equal(starts[0], [0, -8 * step])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e34, -3.4e38])
@pytest.mark.parametrize("column", [0, 33, 69])
def test_a_group_with_what_is_no_number_has_a_scale_that_is_none(value: float, column: int) -> None:
    x = np.random.default_rng(1).standard_normal((3, 70), np.float32)
    form = Form.of(70, 32, 128)
    clean = form.read(quantized(form, x))
    x[1, column] = value
    got = form.read(quantized(form, x))
    touched = np.zeros((3, form.groups), bool)
    touched[1, column // 32] = True
    assert not np.isfinite(got[1][touched]).any()
    for part, part_of_clean in zip(got, clean, strict=True):
        np.testing.assert_array_equal(part[~touched], part_of_clean[~touched])


@pytest.mark.parametrize(
    ("plain", "joined"),
    [
        (silu_multiply, silu_multiply_quantize), (gelu_tanh, gelu_tanh_quantize),
        # One after the other of the same parts: each takes seconds to compile.
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (
            (gelu_multiply, gelu_multiply_quantize), (gelu_tanh_multiply, gelu_tanh_multiply_quantize),
            (gelu, gelu_quantize))),
    ],
)  # fmt: skip
@few
@given(tokens=TOKENS, features=FEATURES, group=GROUPS, middle=MIDDLES, gaps=st.tuples(GAPS, GAPS), seed=SEEDS)
def test_the_gate_quantized_is_the_gate_then_quantize(
    plain: Kernel, joined: Kernel, tokens: int, features: int, group: int, middle: int, gaps: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    gate = Rows(random.standard_normal((tokens, features), np.float32), gaps[0])
    up = Rows(random.standard_normal((tokens, features), np.float32), gaps[1])
    form = Form.of(features, group, middle)
    product, target = Rows.unwritten(tokens, features), form.unwritten(tokens)
    inputs = gate.address, gate.stride, up.address, up.stride
    run(plain, tokens, *inputs, product.address, product.stride, features, STEP_TOKENS, 1.0)
    run(joined, tokens, *inputs, target.address, target.stride, features, form.columns, form.group, middle,
        STEP_TOKENS)  # fmt: skip
    assert_same_bytes(target, quantized(form, product.values))


@few
@given(
    tokens=TOKENS, size=FEATURES, runs=st.sampled_from([1, 3]), group=GROUPS, middle=MIDDLES, gap=GAPS, seed=SEEDS
)
def test_the_norm_quantized_is_the_norm_then_quantize(
    tokens: int, size: int, runs: int, group: int, middle: int, gap: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    source = Rows(random.standard_normal((tokens, runs * size), np.float32), gap)
    weight = random.standard_normal(size).astype(np.float32)
    form = Form.of(runs * size, group, middle)
    normed, target = Rows.unwritten(tokens, runs * size), form.unwritten(tokens)
    norm = weight.ctypes.data, size, runs, EPS, STEP_TOKENS
    run(rms_norm, tokens, source.address, source.stride, normed.address, normed.stride, *norm)
    run(rms_norm_quantize, tokens, source.address, source.stride, target.address, target.stride, *norm, 0, 0, 0,
        form.columns, form.group, middle)  # fmt: skip
    assert_same_bytes(target, quantized(form, normed.values))


@few
@given(
    tokens=TOKENS, size=FEATURES, group=GROUPS, middle=MIDDLES, gaps=st.tuples(GAPS, GAPS),
    alpha=st.sampled_from([1.0, -0.37]), seed=SEEDS,
)  # fmt: skip
def test_the_sum_and_norm_quantized_are_the_sum_and_norm_then_quantize(
    tokens: int, size: int, group: int, middle: int, gaps: tuple[int, int], alpha: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    residual = random.standard_normal((tokens, size), np.float32)
    added = Rows(random.standard_normal((tokens, size), np.float32), gaps[1])
    weight = random.standard_normal(size).astype(np.float32)
    form = Form.of(size, group, middle)
    apart, fused = Rows(residual, gaps[0]), Rows(residual, gaps[0])
    normed, target = Rows.unwritten(tokens, size), form.unwritten(tokens)
    norm = weight.ctypes.data, size, 1, EPS, STEP_TOKENS, added.address, added.stride, alpha
    run(add_rms_norm, tokens, apart.address, apart.stride, normed.address, normed.stride, *norm)
    run(add_rms_norm_quantize, tokens, fused.address, fused.stride, target.address, target.stride, *norm, form.columns,
        form.group, middle)  # fmt: skip
    assert_same_bytes(target, quantized(form, normed.values))
    assert_same_bytes(fused, apart)


@pytest.mark.parametrize("adds", [False, True])
@few
@given(
    tokens=TOKENS, size=FEATURES, runs=st.sampled_from([1, 3]), group=GROUPS, middle=MIDDLES, gap=GAPS, seed=SEEDS
)
def test_the_layer_norm_quantized_is_the_layer_norm_then_quantize(
    adds: bool, tokens: int, size: int, runs: int, group: int, middle: int, gap: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    residual = random.standard_normal((tokens, runs * size), np.float32)
    added = Rows(random.standard_normal((tokens, runs * size), np.float32), gap)
    weight, bias = (random.standard_normal(size).astype(np.float32) for _ in range(2))
    form = Form.of(runs * size, group, middle)
    apart, fused = Rows(residual, gap), Rows(residual, gap)
    normed, target = Rows.unwritten(tokens, runs * size), form.unwritten(tokens)
    shared = {
        "weight": weight.ctypes.data, "weight_step": 0, "bias": bias.ctypes.data, "bias_step": 0, "size": size,
        "groups": runs, "eps": EPS, "count": STEP_TOKENS, "added": added.address, "added_stride": added.stride,
        "alpha": -0.37, "columns": form.columns, "group": form.group, "middle": middle,
    }  # fmt: skip
    for quantizes, source, output in ((False, apart, normed), (True, fused, target)):
        row = LAYER_NORM.values(
            input=source.address, input_stride=source.stride, output=output.address, output_stride=output.stride,
            **shared,
        )  # fmt: skip
        run(layer_norm_kernel(adds, quantizes), tokens, *row)
    assert_same_bytes(target, quantized(form, normed.values))
    assert_same_bytes(fused, apart)
    assert np.array_equal(fused.values, residual) != adds
