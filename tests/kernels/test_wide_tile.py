"""Products of 16-bit numbers and bytes against whole numbers in NumPy: exact, whatever the shape."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.step import argument, take_chunk
from ftllm_nb.kernels.wide_tile import LARGEST, wide_bytes, wide_group_matmul, wide_matmul, widen_row
from ftllm_nb.memory import aligned_bytes
from tests.kernels.kernel_runs import Floats, Rows, run

(W, BLOCK_STRIDE, BLOCKS, X, X_STRIDE, TOKENS, WIDE, START, OUT, OUT_STRIDE, COLUMNS) = range(11)
"""Arguments of the kernels below."""


@functools.cache
def product(with_scales: int) -> Kernel:
    """Floats to wide rows, then their product with blocks of bytes."""
    multiply = wide_matmul(with_scales)

    @kernel(variant=f"product{with_scales}")
    def test_product(row, step, worker):
        chunk = take_chunk(worker, 1)
        if chunk == 0:
            columns, wide = argument(row, COLUMNS), argument(row, WIDE)
            stride = wide_bytes(columns)
            for token in range(argument(row, TOKENS)):
                widen_row(argument(row, X) + token * argument(row, X_STRIDE), wide + token * stride, columns)
            multiply(argument(row, W), argument(row, BLOCK_STRIDE), argument(row, BLOCKS), wide, stride,
                     argument(row, TOKENS), argument(row, START), 0, argument(row, OUT), argument(row, OUT_STRIDE),
                     columns)  # fmt: skip

    return test_product


@functools.cache
def group_product(with_scales: int, tokens: int) -> Kernel:
    """The same with as many rows as it was made for, fetching what it multiplies once more."""
    multiply = wide_group_matmul(with_scales, tokens)

    @kernel(variant=f"group{with_scales}_{tokens}")
    def test_group_product(row, step, worker):
        chunk = take_chunk(worker, 1)
        if chunk == 0:
            columns, wide = argument(row, COLUMNS), argument(row, WIDE)
            stride = wide_bytes(columns)
            for token in range(tokens):
                widen_row(argument(row, X) + token * argument(row, X_STRIDE), wide + token * stride, columns)
            multiply(argument(row, W), argument(row, BLOCK_STRIDE), argument(row, BLOCKS), wide, stride,
                     argument(row, START), 0, argument(row, OUT), argument(row, OUT_STRIDE), columns,
                     argument(row, W))  # fmt: skip

    return test_group_product


def multiplied(
    kernel: Kernel, numbers: NDArray[np.uint8], scales: Floats | None, x: Floats, start: Floats
) -> Floats:
    """[tokens, rows] of a kernel on bytes [rows, columns], rows a multiple of 16, and floats [tokens, columns]."""
    (rows, columns), tokens = numbers.shape, len(x)
    stride = 16 * columns + (0 if scales is None else 64)
    weights = aligned_bytes(rows // 16 * stride).reshape(-1, stride)
    blocks = numbers.reshape(-1, 16, columns // 4, 4).transpose(0, 2, 1, 3)
    weights[:, : 16 * columns] = blocks.reshape(len(weights), -1)
    if scales is not None:
        weights[:, 16 * columns :] = scales.reshape(-1, 16).view(np.uint8)
    given, out = Rows(x), Rows.unwritten(tokens, rows, gap=16)
    wide = aligned_bytes(tokens * wide_bytes(columns))
    run(kernel, tokens, weights.ctypes.data, stride, rows // 16, given.address, given.stride, tokens,
        wide.ctypes.data, start.ctypes.data, out.address, out.stride, columns)  # fmt: skip
    out.assert_marks()
    return out.values


def expected(numbers: NDArray[np.uint8], scales: Floats | None, x: Floats) -> Floats:
    """The same without a start: what is multiplied has 16 bits, or as many as its longest sum leaves."""
    most = min(LARGEST, (2**31 - 1) // (128 * x.shape[1]))
    largest = np.abs(x).max(axis=1, keepdims=True)
    steps = np.rint(x * (np.float32(most) / np.maximum(largest, np.float32(1e-30)))).astype(np.int64)
    dots = steps @ (numbers.astype(np.int64) - 128).T
    assert np.abs(dots).max(initial=0) < 2**31
    factors = largest / np.float32(most) * (np.float32(1) if scales is None else scales[None])
    return dots.astype(np.float32) * factors


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 3, 6, 7, 12, 13, 29]), blocks=st.sampled_from([1, 2, 3, 4, 5, 9]),
    columns=st.sampled_from([16, 32, 48, 64, 128, 256]), with_scales=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_equals_whole_numbers(tokens: int, blocks: int, columns: int, with_scales: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 256, (16 * blocks, columns), np.uint8)
    scales = random.uniform(0.001, 0.02, 16 * blocks).astype(np.float32) if with_scales else None
    x = random.standard_normal((tokens, columns), np.float32) * random.uniform(0.01, 100, (tokens, 1))
    x, start = x.astype(np.float32), np.zeros(16 * blocks, np.float32)
    got = multiplied(product(int(with_scales)), numbers, scales, x, start)
    np.testing.assert_array_equal(got, expected(numbers, scales, x))


@pytest.mark.parametrize(
    "tokens, with_scales",
    [
        (7, 0),
        *(pytest.param(*each, marks=pytest.mark.slow)
          for each in ((1, 0), (1, 1), (2, 0), (2, 1), (7, 1), (30, 0), (30, 1))),
    ],
)  # fmt: skip
def test_a_group_has_the_same_bits(tokens: int, with_scales: int) -> None:
    random = np.random.default_rng(tokens)
    numbers = random.integers(0, 256, (16 * 7, 80), np.uint8)
    scales = random.uniform(0.001, 0.02, 16 * 7).astype(np.float32) if with_scales else None
    x, start = random.standard_normal((tokens, 80), np.float32), random.standard_normal(16 * 7).astype(np.float32)
    got = multiplied(group_product(with_scales, tokens), numbers, scales, x, start)
    np.testing.assert_array_equal(got, multiplied(product(with_scales), numbers, scales, x, start))
    exact = start + expected(numbers, scales, x).astype(np.float64)
    np.testing.assert_allclose(got, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize("columns", [16, 256, 512, 528, 1024])
@pytest.mark.parametrize("number", [0, 255])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_fit(columns: int, number: int, sign: int) -> None:
    numbers, x = np.full((16, columns), number, np.uint8), np.full((2, columns), sign * 3.5, np.float32)
    got = multiplied(product(0), numbers, None, x, np.zeros(16, np.float32))
    np.testing.assert_array_equal(got, expected(numbers, None, x))
    np.testing.assert_allclose(got, (number - 128.0) * sign * 3.5 * columns, rtol=1e-6)


def test_what_is_as_good_as_zero_is_zero_and_what_is_no_number_shows() -> None:
    numbers = np.full((16, 32), 3, np.uint8)
    x = np.zeros((4, 32), np.float32)
    x[1], x[2, 5], x[3, 31] = 1e-35, np.nan, np.inf
    got = multiplied(product(0), numbers, None, x, np.zeros(16, np.float32))
    assert (got[:2] == 0).all()
    assert not np.isfinite(got[2:]).any()
