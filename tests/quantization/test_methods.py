"""The methods' kernels against their NumPy twins, number by number, and against what loading makes of weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.checkpoint.compressed_tensors import INT_QUANTIZED, PACK_QUANTIZED, WeightScheme, pack, unpack
from ftllm_nb.errors import UsageError
from ftllm_nb.quant.base import weight_format
from ftllm_nb.quant.integers import IntegerFormat
from ftllm_nb.quantization.methods import is_calibrated, method_module, methods
from ftllm_nb.quantization.rows import QuantizedRows, quantize_rows, rows_kernel
from tests.kernels.kernel_runs import pool
from tests.quantization import twins

SCHEMES = {
    scheme.name + ("" if scheme.symmetric else "_asymmetric") + ("_bytes" if scheme.layout == INT_QUANTIZED else ""):
    scheme
    for scheme in (
        WeightScheme(4, 32), WeightScheme(4, 0), WeightScheme(8, 32), WeightScheme(8, 0),
        WeightScheme(8, 0, layout=INT_QUANTIZED), WeightScheme(4, 0, symmetric=False),
        WeightScheme(8, 128, symmetric=False),
    )
}  # fmt: skip
each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
few = settings(max_examples=12, deadline=None)


def run(method: str, scheme: WeightScheme, weights: np.ndarray, source: str = "float32") -> QuantizedRows:
    return quantize_rows(rows_kernel(method), weights, source, scheme, pool())


def stored_numbers(scheme: WeightScheme, numbers: np.ndarray) -> np.ndarray:
    """Signed numbers as the layout has them, as bytes."""
    return pack(numbers, scheme.bits).view(np.uint8) if scheme.layout == PACK_QUANTIZED else numbers.view(np.uint8)


def assert_same(got: QuantizedRows, method: str, scheme: WeightScheme, weights: np.ndarray) -> None:
    numbers, scales, zeros = twins.quantized(method, weights, scheme.bits, scheme.group, scheme.symmetric)
    np.testing.assert_array_equal(got.scales.view(np.uint16), scales.view(np.uint16))
    np.testing.assert_array_equal(got.numbers, stored_numbers(scheme, numbers))
    if scheme.symmetric:
        assert got.zero_points is None and (zeros == 1 << (scheme.bits - 1)).all()
    else:
        np.testing.assert_array_equal(got.zero_points, zeros)


@pytest.mark.parametrize("method", twins.METHODS)
@each_scheme
@few
@given(rows=st.sampled_from([1, 7, 8, 17]), groups=st.integers(1, 3), odd=st.integers(0, 31), seed=st.integers(0, 99))
def test_kernels_are_their_twins(
    method: str, scheme: WeightScheme, rows: int, groups: int, odd: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    columns = groups * scheme.group if scheme.group else 32 * groups - odd
    weights = random.standard_normal((rows, columns), np.float32) * np.float32(10.0 ** random.integers(-9, 3))
    weights += np.float32(random.integers(-2, 3))  # one-sided groups, too
    assert_same(run(method, scheme, weights), method, scheme, weights)


@pytest.mark.parametrize("method", twins.METHODS)
@each_scheme
def test_odd_values(method: str, scheme: WeightScheme) -> None:
    """Zeros, one value alone, all alike, values whose scale is barely a float16 or none."""
    columns = scheme.group or 45
    weights = np.zeros((8, columns), np.float32)
    weights[1, 3] = 1.0
    weights[2] = -0.25
    weights[3, ::2] = 3e-8
    weights[4] = 1e-30
    weights[5, 0], weights[5, 1] = 1e-7, -5e-7
    weights[6, 7] = 4e5 if scheme.bits == 4 and scheme.symmetric else 5e5
    weights[7] = np.linspace(0.5, 1.0, columns)
    assert_same(run(method, scheme, weights), method, scheme, weights)


@pytest.mark.parametrize(
    "name, source",
    [("int4g32", "float32"), ("int4g32", "bfloat16"), ("int4g32", "float16"), ("int4", "float32"),
     ("int4g256", "float32")],
)  # fmt: skip  # with 8 bits, loading spreads rows first
def test_round_to_nearest_is_what_loading_does(name: str, source: str) -> None:
    format = weight_format(name)
    assert isinstance(format, IntegerFormat)
    weights = np.random.default_rng(1).standard_normal((19, 512)).astype(np.float16).astype(np.float32)
    stored = weights.astype(np.float16).view(np.uint16) if source == "float16" else weights
    if source == "bfloat16":
        weights = (weights.view(np.uint32) & 0xFFFF0000).view(np.float32)
        stored = (weights.view(np.uint32) >> 16).astype(np.uint16)
    steps, scales = format.encode(weights)
    scheme = WeightScheme(format.type.bits, format.type.group)
    got = run("rtn", scheme, np.ascontiguousarray(stored), source)
    np.testing.assert_array_equal(got.scales, scales)
    np.testing.assert_array_equal(got.numbers, stored_numbers(scheme, steps.astype(np.int8)))


@each_scheme
def test_searched_scales_are_never_worse_and_mostly_better(scheme: WeightScheme) -> None:
    weights = np.random.default_rng(2).standard_t(4, (16, 256)).astype(np.float32)

    def error(method: str) -> np.ndarray:
        made = run(method, scheme, weights)
        numbers = made.numbers.view(np.int8)
        if scheme.layout == PACK_QUANTIZED:
            numbers = unpack(made.numbers.view("<i4"), scheme.bits, weights.shape[1])
        groups = numbers.reshape(*made.scales.shape, -1).astype(np.float64)
        if made.zero_points is not None:
            groups = groups + (1 << (scheme.bits - 1)) - made.zero_points[..., None]
        exact = weights.reshape(groups.shape).astype(np.float64)
        off = exact - groups * made.scales[..., None].astype(np.float64)
        return (off**2).sum(-1) + (off * exact).sum(-1) ** 2 / (exact**2).sum(-1)

    nearest, searched = error("rtn"), error("mse")
    assert (searched <= nearest * (1 + 1e-5)).all()
    assert searched.sum() < nearest.sum() * (0.85 if scheme.bits == 4 else 0.97)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("method", twins.METHODS)
def test_numbers_that_cannot_be_quantized_are_refused(method: str, value: float) -> None:
    for scheme in (WeightScheme(4, 32), WeightScheme(4, 0, symmetric=False)):
        weights = np.zeros((17, 128), np.float32)
        weights[16, 127] = value
        with pytest.raises(ValueError, match="not finite, or too large for int"):
            run(method, scheme, weights)


def test_every_method_has_a_twin_and_unknown_ones_are_listed() -> None:
    assert {name for name in methods() if not is_calibrated(name)} == set(twins.METHODS)
    with pytest.raises(UsageError, match="'hqq' is no method of quantization: use best or gptq or imatrix"):
        method_module("hqq")
