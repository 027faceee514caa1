"""AddTo and MulTo with numbers and vectors that features share: references against loops, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.types import ShapeError, TensorType
from tests.ops.operator_runs import OPERATORS, compute, normal

SHAPES = [
    # input0, input1, and the place of what of input1 meets input0[place]
    ((1, 3, 4), (1, 3, 1), lambda place: (*place[:2], 0)),
    ((1, 3, 4), (1, 3), lambda place: place[:2]),
    ((1, 3, 2, 4), (1, 3, 2, 1), lambda place: (*place[:3], 0)),
    ((1, 3, 2, 4), (1, 3, 2), lambda place: place[:3]),
    ((1, 3, 2, 4), (1, 3, 1, 1), lambda place: (*place[:2], 0, 0)),
    ((1, 3, 1), (1, 3, 1), lambda place: place),
    ((1, 3, 2, 4), (4,), lambda place: place[3:]),
    ((1, 3, 4), (1,), lambda place: (0,)),
    ((1, 3, 4), (), lambda place: ()),
]


@pytest.mark.parametrize(("shape", "other", "where"), SHAPES)
def test_sums_and_products(shape: tuple[int, ...], other: tuple[int, ...], where: object) -> None:
    assert callable(where)
    x, y = normal(1, *shape), np.asarray(normal(2, *other))
    added, multiplied = compute("AddTo", input0=x, input1=y, alpha=-0.5), compute("MulTo", input0=x, input1=y)
    for place in np.ndindex(*shape):
        assert added[place] == x[place] + np.float32(-0.5) * y[where(place)]
        assert multiplied[place] == x[place] * y[where(place)]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((2,), "input1 must hold one number, or one for each of input0's 4 features"),
        ((1, 3, 4), "input1 must have input0's shape, or that of its first axes"),
        ((1, 3, 2, 2), "input1 must have input0's shape"),
        ((1, 3, 2, 4, 1, 4), "input1 must have input0's shape"),
        ((1, 2, 2, 4), "input1 must have input0's shape"),
        ((2, 4), "input1 must have input0's shape"),
    ],
)
def test_operands_that_do_not_fit(other: tuple[int, ...], expected: str) -> None:
    given: dict[str, Any] = {"input0": TensorType((1, 3, 2, 4)), "input1": TensorType(other)}
    for name, numbers in (("AddTo", {"alpha": 1.0}), ("MulTo", {})):
        with pytest.raises(ShapeError, match=expected):
            OPERATORS[name].infer_outputs({**given, **numbers})
