"""Hadamard's matrix: by its definition, in any dimension, and what it does to an outlier."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.hadamard import gathered_weights, hadamard, hadamard_size, spread_weights, weights_share
from ftllm_nb.quant.activations import Int8Form
from ftllm_nb.quant.integers import IntegerFormat
from ftllm_nb.quantized_type import QuantizedType
from tests.kernels.cache_blocks import hadamard_matrix

SIZES = {16: 16, 48: 16, 64: 64, 576: 64, 1024: 512, 1536: 512}


@pytest.mark.parametrize("size", SIZES)
def test_equals_its_definition(size: int) -> None:
    x = np.random.default_rng(size).standard_normal((3, size)).astype(np.float32)
    run = hadamard_size(size)
    assert run == SIZES[size] and weights_share(size) ** 2 in (run, 2 * run)
    matrix = hadamard_matrix(run)
    exact = (x.reshape(3, -1, run).astype(np.float64) @ matrix).reshape(x.shape)
    np.testing.assert_allclose(hadamard(x), exact, rtol=0, atol=1e-6 * run)
    np.testing.assert_allclose(hadamard(hadamard(x)) / np.float32(run), x, rtol=0, atol=1e-5)
    np.testing.assert_allclose(gathered_weights(spread_weights(x)), x, rtol=0, atol=1e-5)


def test_products_of_what_is_spread_are_the_products() -> None:
    """And an outlier among the activations leaves the others their precision."""
    random = np.random.default_rng(1)
    x, weights = (random.standard_normal((count, 64)).astype(np.float32) for count in (20, 30))
    x[:, 5] *= 30
    exact = x.astype(np.float64) @ weights.T
    errors = []
    for spread in (False, True):
        format = IntegerFormat(QuantizedType(8, 0, spread=spread))
        assert format.activations == Int8Form(0, 128, spread)
        words = format.activations.convert(x[None])[0]
        values = np.ascontiguousarray(words).view(np.int8)[:, :64].astype(np.float64) * words[:, 16:17]
        steps, scales = format.encode(weights)
        errors.append(np.abs(values @ (steps * scales.astype(np.float64)).T - exact).mean())
    assert errors[1] < 0.5 * errors[0]
