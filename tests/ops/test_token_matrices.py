"""Products, shapes and norms of each token's own features: references against plain loops, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.types import ShapeError, Symbol, TensorType
from tests.ops.operator_runs import OPERATORS, compute, normal

TOKENS = 3


@pytest.mark.parametrize("name", ["MatMul", "MatMulTransB"])
@pytest.mark.parametrize(("lead", "second_lead", "group"), [((), (), 1), ((4,), (4,), 1), ((2, 2), (2,), 2)])
@pytest.mark.parametrize("is_weight", [False, True])
def test_products(name: str, lead: tuple[int, ...], second_lead: tuple[int, ...], group: int, is_weight: bool) -> None:
    n, m, k = 2, 5, 3
    a = normal(1, 1, TOKENS, *lead, n, m)
    tail = (k, m) if name.endswith("TransB") else (m, k)
    batch = int(np.prod(second_lead))
    b = normal(2, batch, *tail) if is_weight else normal(2, 1, TOKENS, *second_lead, *tail)
    got = compute(name, input0=a, input1=b, alpha=0.5, group=group)
    assert got.shape == (1, TOKENS, *lead, n, k)
    firsts = a.reshape(TOKENS, -1, n, m).astype(float)
    for token, at in itertools.product(range(TOKENS), range(firsts.shape[1])):
        second = (b if is_weight else b.reshape(TOKENS, batch, *tail)[token])[at // group].astype(float)
        if name.endswith("TransB"):
            second = second.T
        for i, j in itertools.product(range(n), range(k)):
            expected = 0.5 * sum(firsts[token, at, i, x] * second[x, j] for x in range(m))
            found = got.reshape(TOKENS, -1, n, k)[token, at, i, j]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "group", "expected"),
    [
        ((1, 3, 5), (1, 3, 5, 2), 1, "input0 must be \\[1, tokens, .., n, m\\], but it has 3 axes"),
        ((1, 3, 2, 5), (1, Symbol.TOKENS, 5), 1, "input1 must be \\[1, tokens, .., m, k\\] or a weight"),
        ((1, 3, 2, 5), (1, 4, 5, 2), 1, "input1 must be of input0's tokens"),
        ((1, 3, 2, 5), (5, 2), 1, "a weight \\[batch, m, k\\], but it has 2 axes: for one matrix there is Linear"),
        ((1, 3, 2, 5), (1, 3, 4, 2), 1, "input0 has rows of 5, but input1 takes 4"),
        ((1, 3, 4, 2, 5), (1, 3, 2, 5, 2), 1, "input0 has 4 matrices a token and input1 2, which a group of 1 does"),
        ((1, 3, 4, 2, 5), (1, 3, 2, 5, 2), 0, "which a group of 0 does not make equal"),
    ],
)
def test_products_that_do_not_fit(first: Any, second: Any, group: int, expected: str) -> None:
    with pytest.raises(ShapeError, match=expected):
        OPERATORS["MatMul"].infer(TensorType(first), TensorType(second), 1.0, group)


@pytest.mark.parametrize("order", list(itertools.permutations((2, 3, 4))))
def test_permute(order: tuple[int, ...]) -> None:
    x = normal(1, 1, TOKENS, 2, 3, 4)
    got = compute("Permute", input=x, axis=(0, 1, *order))
    for place in np.ndindex(*got.shape):
        source = [0] * 5
        for axis, at in zip((0, 1, *order), place, strict=True):
            source[axis] = at
        assert got[place] == x[tuple(source)]


@pytest.mark.parametrize("axis", [(1, 0, 2, 3), (0, 1, 2), (0, 1, 2, 2), (0, 1, 3, -2), (0, 2, 1, 3)])
def test_tokens_stay_where_they_are(axis: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="axis must name input's 4 axes in another order, 0 and 1 first"):
        OPERATORS["Permute"].infer(TensorType((1, 3, 2, 4)), axis)


def test_reshape_and_flatten() -> None:
    x = normal(1, 1, TOKENS, 2, 6)
    for shape in ((12,), (3, 4), (-1, 2), (2, 1, 6)):
        got = compute("Reshape", input=x, shape=shape)
        np.testing.assert_array_equal(got, x.reshape(1, TOKENS, *shape))
    np.testing.assert_array_equal(compute("Flatten", input=x), x.reshape(1, TOKENS, 12))
    for shape in ((), (5,), (-1, -1), (0, 12), (-2, -6), (5, -1)):
        with pytest.raises(ShapeError, match="a token's 12 features cannot have the shape"):
            OPERATORS["Reshape"].infer(TensorType((1, 3, 2, 6)), shape)


@pytest.mark.parametrize("shape", [(7,), (2, 7)])
def test_rms_norm_part(shape: tuple[int, ...]) -> None:
    x, weight = normal(1, 1, TOKENS, *shape), normal(2, 3)
    got = compute("RMSNormPart", input=x, weight=weight, eps=0.1, start=2, end=5)
    part = x[..., 2:5].astype(float)
    expected = x.astype(float)
    expected[..., 2:5] = part / np.sqrt((part**2).mean(-1, keepdims=True) + 0.1) * weight
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    for start, end in ((-1, 2), (5, 2), (3, 3), (5, 8)):
        with pytest.raises(ShapeError, match="must be within the last axis: 0 ≤ start < end ≤ 7"):
            OPERATORS["RMSNormPart"].infer(TensorType((1, 3, 7)), TensorType((3,)), 0.1, start, end)
