"""Gates and softmax: references against loops in double precision, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from ftllm_nb.graph.types import ShapeError, TensorType
from tests.ops.operator_runs import OPERATORS, compute, normal


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gelu(x: float) -> float:
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def limited(gate: float, up: float, limit: float = 7.0, alpha: float = 1.702) -> float:
    gate, up = min(gate, limit), max(-limit, min(up, limit))
    return (up + 1) * gate * sigmoid(alpha * gate)


@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_gates_of_halves(shape: tuple[int, ...]) -> None:
    x = 3 * normal(1, 1, 5, *shape)
    half = shape[-1] // 2
    gate, up = x[..., :half].astype(float), x[..., half:]
    got = compute("Geglu", input=x)
    np.testing.assert_allclose(got, np.vectorize(gelu)(gate) * up, rtol=1e-6)


PAIRS: dict[str, Callable[[float, float], float]] = {
    "CrossSwiglu": lambda gate, up: gate * sigmoid(gate) * up, "SwigluGptOss": limited,
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_gates_of_pairs(name: str, shape: tuple[int, ...]) -> None:
    x = 6 * normal(1, 1, 5, *shape)
    expected = np.vectorize(PAIRS[name])(x[..., ::2].astype(float), x[..., 1::2].astype(float))
    np.testing.assert_allclose(compute(name, input=x), expected, rtol=3e-6, atol=1e-6)


def test_the_limits_are_parameters() -> None:
    x = 6 * normal(1, 1, 5, 4)
    expected = np.vectorize(limited)(x[..., ::2].astype(float), x[..., 1::2].astype(float), 2.0, 0.5)
    got = compute("SwigluGptOss", input=x, limit=2.0, alpha=0.5)
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)
    with pytest.raises(ShapeError, match="limit must be above 0, but it is 0"):
        OPERATORS["SwigluGptOss"].infer(TensorType((1, 5, 4)), 0.0, 1.0)


@pytest.mark.parametrize("name", ["Geglu", *PAIRS])
def test_an_odd_number_of_features_has_no_halves(name: str) -> None:
    with pytest.raises(ShapeError, match="input must have an even number of features, but it has 5"):
        OPERATORS[name].infer(TensorType((1, 3, 5)))


def test_softplus() -> None:
    x = 30 * normal(1, 1, 4, 5)
    expected = [[math.log1p(math.exp(-abs(value))) + max(value, 0) for value in row] for row in x[0].astype(float)]
    np.testing.assert_allclose(compute("Softplus", input=x)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3)])
def test_softmax(shape: tuple[int, ...]) -> None:
    """Also of rows far below zero, which fastllm's do not make add up to 1."""
    x = 9 * normal(1, 1, 4, *shape) - np.float32(100)
    powers = np.exp(x.astype(float) + 100)
    got = compute("SoftMax", input=x)
    np.testing.assert_allclose(got, powers / powers.sum(-1, keepdims=True), rtol=1e-5)
    with pytest.raises(ShapeError, match="axis must be the last one, −1, but it is 1"):
        OPERATORS["SoftMax"].infer(TensorType((1, 4, *shape)), 1)
