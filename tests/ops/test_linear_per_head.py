"""LinearPerHead: against plain loops, compiled against its reference, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.types import ShapeError, TensorType
from tests.ops.operator_runs import OPERATORS, compute, normal


def test_each_head_has_its_matrix() -> None:
    x, weight = normal(1, 1, 3, 4, 5), normal(2, 4, 7, 5)
    got = compute("LinearPerHead", input=x, weight=weight)
    for token, head, out in np.ndindex(3, 4, 7):
        expected = sum(float(x[0, token, head, at]) * float(weight[head, out, at]) for at in range(5))
        np.testing.assert_allclose(got[0, token, head, out], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "weight", "expected"),
    [
        ((1, 3, 20), (4, 7, 5), "input must have 4 axes"),
        ((1, 3, 4, 5), (28, 5), "weight must be \\[heads, out features, in features\\], but it has 2 axes"),
        ((1, 3, 4, 5), (2, 7, 5), "weight is for 2 heads of 5, but input has 4 of 5"),
        ((1, 3, 4, 5), (4, 7, 6), "weight is for 4 heads of 6, but input has 4 of 5"),
    ],
)
def test_shapes_that_do_not_fit(shape: Any, weight: Any, expected: str) -> None:
    with pytest.raises(ShapeError, match=expected):
        OPERATORS["LinearPerHead"].infer(TensorType(shape), TensorType(weight))
