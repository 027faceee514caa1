"""Packed weights times activations, against a NumPy product in double precision, through the thread pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.bf16_parts import split_kernel
from ftllm_nb.kernels.step import STEP_TOKENS
from ftllm_nb.quant.activations import SplitForm
from ftllm_nb.quant.base import WeightFormat, weight_format
from tests.kernels.kernel_runs import run


def stored(values: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights as a checkpoint stores them, and their values as float32."""
    if dtype == "bfloat16":
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
        return bits, (bits.astype(np.uint32) << 16).view(np.float32)
    kept = values.astype(dtype)
    return kept, kept.astype(np.float32)


def prepared(format: WeightFormat, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Activations as the format's products take them, and the columns of the products."""
    columns = x.shape[1]
    if not isinstance(format.activations, SplitForm):
        return x, columns
    padded = format.activations.columns(columns)
    row_bytes = format.activations.row_bytes(columns)
    parts = np.full((len(x), row_bytes), 255, np.uint8)
    run(split_kernel(format.activations.parts), len(x), x.ctypes.data, 4 * columns, x.ctypes.data, 4 * columns,
        parts.ctypes.data, row_bytes, columns, padded, STEP_TOKENS)  # fmt: skip
    return parts, padded


def packed_product(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dtype: str, rounds: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """x · wᵀ + bias by the kernels, and by NumPy. `rounds`: activations may be rounded to bfloat16."""
    rows, columns = weight.shape
    kept, exact = stored(weight, dtype)
    format = weight_format(dtype).rounding_activations() if rounds else weight_format(dtype)
    packed = np.full(format.packed_bytes(rows, columns), 255, np.uint8)
    fault = np.zeros(1, np.int64)
    run(format.pack_kernel(dtype), 0, kept.ctypes.data, packed.ctypes.data, rows, columns, fault.ctypes.data)
    blocks = -(-rows // 16)
    padded_bias = np.zeros(16 * blocks, np.float32)
    padded_bias[:rows] = bias
    out = np.full((len(x), 16 * blocks), np.nan, np.float32)
    values, padded_columns = prepared(format, x)
    run(format.linear_kernel(), len(x), values.ctypes.data, values.strides[0], padded_columns, packed.ctypes.data,
        format.block_bytes(columns), blocks, padded_bias.ctypes.data, out.ctypes.data, 64 * blocks,
        STEP_TOKENS)  # fmt: skip
    assert (out[:, rows:] == 0).all(), "rows of padding give zeros"
    return out[:, :rows], x.astype(np.float64) @ exact.astype(np.float64).T + bias


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@settings(max_examples=40, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 3, 4, 5, 11, 12, 13, 95, 96, 97, 200]),
    rows=st.sampled_from([1, 15, 16, 17, 31, 33, 64, 65, 130]),
    columns=st.sampled_from([1, 3, 4, 5, 16, 63, 64, 129]),
    seed=st.integers(0, 9),
)
def test_equals_numpy(dtype: str, rounds: bool, tokens: int, rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((tokens, columns), np.float32)
    weight = random.standard_normal((rows, columns), np.float32)
    bias = random.standard_normal(rows).astype(np.float32)
    got, expected = packed_product(x, weight, bias, dtype, rounds)
    bound = np.full(expected.shape, 4e-6 * (columns + 4))
    if weight_format(dtype).activations is not None:
        bound += 2.0 ** (-8 if rounds else -17) * (np.abs(x) @ np.abs(weight).T)
    assert (np.abs(got - expected) < bound).all()


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_token_gives_the_same_bits_in_any_company(dtype: str, rounds: bool) -> None:
    random = np.random.default_rng(3)
    x = random.standard_normal((101, 70), np.float32)
    weight = random.standard_normal((90, 70), np.float32)
    bias = random.standard_normal(90).astype(np.float32)
    together, _ = packed_product(x, weight, bias, dtype, rounds)
    for count in (1, 2, 4, 5, 12, 13):
        few, _ = packed_product(np.ascontiguousarray(x[-count:]), weight, bias, dtype, rounds)
        np.testing.assert_array_equal(few, together[-count:])
