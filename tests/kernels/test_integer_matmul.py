"""Integer weights and quantized activations, against NumPy: packing, products, lookups, activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.hadamard import hadamard_size
from ftllm_nb.memory import aligned_bytes
from ftllm_nb.quant.base import weight_format
from ftllm_nb.quant.integers import IntegerFormat
from tests.kernels.integer_runs import looked_up, packed_product, quantized
from tests.kernels.kernel_runs import run

# Each is a kernel of its own, which takes ten seconds to compile; groups of other sizes are between these.
LESS_TELLING = ("int4", "int4g128", "int4g256", "int8g32", "int8g128")
FORMATS = ["int8", "int4g32", *(pytest.param(name, marks=pytest.mark.slow) for name in LESS_TELLING)]
ROWS = [1, 15, 16, 17, 33, 65, 130]
COLUMNS = [1, 5, 31, 32, 33, 64, 96, 129, 256, 300]
TOKENS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 22, 24, 25, 31, 33, 97, 260]


def integer_format(name: str) -> IntegerFormat:
    format = weight_format(name)
    assert isinstance(format, IntegerFormat)
    return format


def pack(format: IntegerFormat, weight: np.ndarray) -> tuple[np.ndarray, int]:
    """The packed matrix, and the fault word."""
    rows, columns = weight.shape
    packed = aligned_bytes(format.packed_bytes(rows, columns))
    packed[:] = 255
    fault = np.zeros(1, np.int64)
    run(format.pack_kernel("float32"), 0, weight.ctypes.data, packed.ctypes.data, rows, columns, fault.ctypes.data)
    return packed, int(fault[0])


def product(format: IntegerFormat, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """x · wᵀ + bias by the kernels."""
    packed, fault = pack(format, weight)
    assert fault == 0
    return packed_product(format, x, packed, len(weight), bias)


def exact_product(format: IntegerFormat, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The same from the integers that the formats define, group by group, in double precision."""
    steps, weight_scales = format.encode(weight)
    columns, groups = steps.shape[1], weight_scales.shape[1]
    words = format.activations.convert(x[None])[0]
    values = np.ascontiguousarray(words).view(np.int8)[:, :columns].astype(np.int64)
    value_scales = words[:, columns // 4 :: 3].astype(np.float64)
    total = np.zeros((len(x), len(weight))) + bias
    for group, part in enumerate(np.split(np.arange(columns), groups)):
        dots = values[:, part] @ steps[:, part].astype(np.int64).T
        total += dots * value_scales[:, group, None] * weight_scales[:, group].astype(np.float64)
    return total


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(
    tokens=st.sampled_from(TOKENS),
    rows=st.sampled_from(ROWS),
    columns=st.sampled_from(COLUMNS),
    seed=st.integers(0, 9),
)
def test_products_are_those_of_the_integers(name: str, tokens: int, rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((tokens, columns), np.float32)
    weight = random.standard_normal((rows, columns), np.float32)
    bias = random.standard_normal(rows).astype(np.float32)
    format = integer_format(name)
    got, expected = product(format, x, weight, bias), exact_product(format, x, weight, bias)
    assert np.max(np.abs(got - expected)) < 1e-6 * (columns + 8)


@pytest.mark.parametrize("name", FORMATS)
def test_long_rows_and_many_tokens_give_the_bits_of_one_token(name: str) -> None:
    random = np.random.default_rng(5)
    x, weight = (random.standard_normal((count, 2210), np.float32) for count in (150, 81))
    bias = random.standard_normal(len(weight)).astype(np.float32)
    format = integer_format(name)
    packed, _ = pack(format, weight)
    got = packed_product(format, x, packed, len(weight), bias)
    assert np.max(np.abs(got - exact_product(format, x, weight, bias))) < 1e-6 * 2218
    for token in (0, 127, 128, 143, 149):
        np.testing.assert_array_equal(got[[token]], packed_product(format, x[[token]], packed, len(weight), bias))
    for count in (2, 4, 8, 9, 12, 13, 16):  # by vectors and by tiles
        np.testing.assert_array_equal(got[:count], packed_product(format, x[:count], packed, len(weight), bias))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(tokens=st.sampled_from([1, 4, 17]), columns=st.sampled_from(COLUMNS), seed=st.integers(0, 9))
def test_products_are_near_those_of_the_dequantized_weights(name: str, tokens: int, columns: int, seed: int) -> None:
    """Each activation is off by at most half a step of its group, which the weights' magnitudes multiply."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((tokens, columns), np.float32)
    weight = random.standard_normal((21, columns), np.float32)
    format = integer_format(name)
    exact_weight = format.rounded(weight).astype(np.float64)
    got = product(format, x, weight, np.zeros(21, np.float32))
    half_steps = np.abs(x).max(-1, keepdims=True) / 254
    bound = half_steps * np.abs(exact_weight).sum(-1) * 1.001 + 1e-5
    if format.type.spread:  # the same of what Hadamard's matrix makes of both, near enough
        bound *= 1.5 * np.sqrt(hadamard_size(format.padded_columns(columns)))
    assert (np.abs(got - x.astype(np.float64) @ exact_weight.T) <= bound).all()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("tokens", [1, 17, 40])
def test_dot_products_at_the_ends_of_the_ranges_are_exact(name: str, tokens: int) -> None:
    """All weights and all activations as large as can be, of either sign: no sum in between may saturate."""
    format, columns = integer_format(name), 256
    for sign in (1, -1):
        for weight_sign in (1, -1):
            x = np.full((tokens, columns), sign, np.float32)
            weight = np.full((16, columns), weight_sign, np.float32)
            got = product(format, x, weight, np.zeros(16, np.float32))
            expected = exact_product(format, x, weight, np.zeros(16, np.float32))
            np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_a_token_gives_the_same_bits_in_any_company(name: str) -> None:
    random = np.random.default_rng(3)
    x = random.standard_normal((300, 288), np.float32)
    weight = random.standard_normal((90, 288), np.float32)
    bias = random.standard_normal(90).astype(np.float32)
    format = integer_format(name)
    together = product(format, x, weight, bias)
    for count in (1, 2, 3, 4, 6, 7, 8, 9, 15, 16, 17, 33, 255):
        few = product(format, np.ascontiguousarray(x[-count:]), weight, bias)
        np.testing.assert_array_equal(few, together[-count:])


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(rows=st.sampled_from(ROWS), columns=st.sampled_from(COLUMNS), seed=st.integers(0, 9))
def test_lookups_give_the_rounded_rows(name: str, rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, columns), np.float32)
    format = integer_format(name)
    packed, _ = pack(format, weight)
    ids = random.integers(0, rows, 7).astype(np.int32)
    out = looked_up(format, packed, ids, columns)
    np.testing.assert_array_equal(out, format.rounded(weight)[ids])


@pytest.mark.parametrize("name", ["int8", "int8g32", "int4g32", "int4g256"])
@settings(max_examples=25, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 17]),
    columns=st.sampled_from([*COLUMNS, 1500, 4000]),
    seed=st.integers(0, 9),
    magnitude=st.sampled_from([0.0, 1e-38, 1e-20, 1.0, 1e30]),
)
def test_activations_equal_their_reference(name: str, tokens: int, columns: int, seed: int, magnitude: float) -> None:
    format = integer_format(name)
    x = (np.random.default_rng(seed).standard_normal((tokens, columns)) * magnitude).astype(np.float32)
    expected = format.activations.convert(x[None])[0]
    got = quantized(format, x)[:, : 4 * expected.shape[1]]
    np.testing.assert_array_equal(got, np.ascontiguousarray(expected).view(np.uint8))


@pytest.mark.parametrize("name", ["int8", "int4g32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_activation_that_is_no_number_shows_in_every_output(name: str, value: float) -> None:
    x = np.ones((2, 64), np.float32)
    x[1, 40] = value
    got = product(integer_format(name), x, np.ones((16, 64), np.float32), np.zeros(16, np.float32))
    assert np.isfinite(got[0]).all()
    assert not np.isfinite(got[1]).any()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_weight_that_no_scale_can_hold_is_a_fault(name: str, value: float) -> None:
    weight = np.ones((20, 70), np.float32)
    assert pack(integer_format(name), weight)[1] == 0
    weight[18, 65] = value
    assert pack(integer_format(name), weight)[1] == 1
