"""exp and tanh on vectors against NumPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.exp import exp, exp_to_one, tanh
from ftllm_nb.kernels.simd import load_vector_partial, store_vector_partial


@kernel()
def exp_of_floats(source, target, count):  # type: ignore[no-untyped-def]
    for at in range(0, count, 16):
        store_vector_partial(target + 4 * at, exp(load_vector_partial(source + 4 * at, count - at)), count - at)


@kernel()
def exp_to_one_of_floats(source, target, count):  # type: ignore[no-untyped-def]
    for at in range(0, count, 16):
        values = load_vector_partial(source + 4 * at, count - at)
        store_vector_partial(target + 4 * at, exp_to_one(values), count - at)


@kernel()
def tanh_of_floats(source, target, count):  # type: ignore[no-untyped-def]
    for at in range(0, count, 16):
        store_vector_partial(target + 4 * at, tanh(load_vector_partial(source + 4 * at, count - at)), count - at)


def compiled_exp(values: np.ndarray) -> np.ndarray:
    result = np.full_like(values, -1)
    exp_of_floats(values.ctypes.data, result.ctypes.data, values.size)
    return result


@pytest.mark.parametrize("count", [1, 15, 16, 17, 1003])
def test_within_three_units_in_the_last_place(count: int) -> None:
    values = np.random.default_rng(count).uniform(-87, 87.9, count).astype(np.float32)
    exact = np.exp(values.astype(np.float64))
    assert np.max(np.abs(compiled_exp(values) - exact) / np.spacing(exact.astype(np.float32))) < 3


def test_of_numbers_that_are_not_positive() -> None:
    random = np.random.default_rng(2)
    values = np.concatenate([random.uniform(-87.3, 0, 3000), -random.exponential(0.1, 1000)]).astype(np.float32)
    edges = np.array([0, -0.0, -87.6, -88, -89, -3e38, -np.inf, np.nan], np.float32)
    result = np.empty(values.size + edges.size, np.float32)
    both = np.concatenate([values, edges])
    exp_to_one_of_floats(both.ctypes.data, result.ctypes.data, both.size)
    exact = np.exp(values.astype(np.float64))
    assert np.max(np.abs(result[:4000] - exact) / np.spacing(exact.astype(np.float32))) < 3
    np.testing.assert_array_equal(result[4000:4002], 1)
    np.testing.assert_allclose(result[4002], np.exp(np.float64(edges[2])), atol=1e-38)
    np.testing.assert_array_equal(result[4003:4007], 0)
    assert np.isnan(result[4007])


def test_tanh_within_three_units_in_the_last_place() -> None:
    random = np.random.default_rng(1)
    values = np.concatenate([random.uniform(-10, 10, 3000), random.normal(0, 1e-3, 1000), [0.625, -0.625, 100]])
    values = values.astype(np.float32)
    result = np.empty_like(values)
    tanh_of_floats(values.ctypes.data, result.ctypes.data, values.size)
    exact = np.tanh(values.astype(np.float64))
    assert np.max(np.abs(result - exact) / np.spacing(np.abs(exact).astype(np.float32))) < 3


def test_tanh_at_its_edges() -> None:
    values = np.array([0, np.inf, -np.inf, 3e38, -3e38, np.nan], np.float32)
    result = np.empty_like(values)
    tanh_of_floats(values.ctypes.data, result.ctypes.data, values.size)
    np.testing.assert_array_equal(result[:5], [0, 1, -1, 1, -1])
    assert np.isnan(result[5])


def test_edges() -> None:
    values = np.array([0, -0.0, -np.inf, -88, np.inf, 89, np.nan], np.float32)
    result = compiled_exp(values)
    np.testing.assert_array_equal(result[:6], [1, 1, 0, 0, np.inf, np.inf])
    assert np.isnan(result[6])


def test_lanes_beyond_the_count_are_not_written() -> None:
    target = np.full(16, 7, np.float32)
    source = np.zeros(16, np.float32)
    exp_of_floats(source.ctypes.data, target.ctypes.data, 3)
    np.testing.assert_array_equal(target, [1] * 3 + [7] * 13)
