"""Factors that depend on a token's position: references against plain loops, both engines, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.types import ShapeError, TensorType
from tests.engine.two_engines import VOCAB, assert_alike
from tests.graph.small_graphs import check
from tests.memory_checkpoint import normal as array
from tests.ops.operator_runs import compute, normal

POSITIONS = np.int32([[0, 3, 4, 7, 8, 4000]])


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
@pytest.mark.parametrize("offset", [0, 1])
def test_scale_by_position(shape: tuple[int, ...], offset: int) -> None:
    x = normal(1, 1, 6, *shape)
    got = compute("ScaleByPosition", input=x, positionIds=POSITIONS, beta=0.3, length=4.0, offset=offset)
    for token, position in enumerate(POSITIONS[0].tolist()):
        factor = 1 + 0.3 * math.log(1 + (position + offset) // 4)
        np.testing.assert_allclose(got[0, token], x[0, token] * factor, rtol=1e-6)


def test_apply_logn_attn() -> None:
    x, table = normal(1, 1, 3, 2, 5), normal(2, 9)
    positions = np.int32([[8, 0, 5]])
    got = compute("ApplyLognAttn", input=x, lognAttn=table, positionIds=positions)
    for token, position in enumerate(positions[0]):
        np.testing.assert_array_equal(got[0, token], x[0, token] * table[position])


@pytest.mark.parametrize("operator", ["ScaleByPosition", "ApplyLognAttn"])
def test_both_engines_agree(operator: str) -> None:
    """On features and on heads; two tables of one operator are two."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        if operator == "ApplyLognAttn":
            self.ApplyLognAttn(data["x"], weight["logn"], data["positionIds"])
        else:
            self.ScaleByPosition(data["x"], data["positionIds"], 0.5, 2.0)
            self.ExpandHead(data["x"], 3)
            self.ScaleByPosition(data["x"], data["positionIds"], 0.5, 2.0, 1)
            self.RMSNorm(data["x"], None, 1e-2, data["y"])
            self.ScaleByPosition(data["y"], data["positionIds"], 0.5, 2.0, 1)
            self.AddTo(data["x"], data["y"])
            self.Flatten(data["x"])
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    arrays: dict[str, Any] = {"embed": array(1, VOCAB, 18), "head": array(2, VOCAB, 18), "logn": array(3, 64)}
    assert_alike(build, arrays)


def test_the_context_ends_where_the_factors_do() -> None:
    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["x"])
        self.ApplyLognAttn(self.data["x"], self.weight["norm.weight"], self.data["positionIds"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["x"])
        self.Linear(self.data["x"], self.weight["head.weight"], None, self.data["logits"])

    assert check(build).max_positions == 24


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"length": 0.0}, "length must be above 0, but it is 0"),
        ({"offset": -1}, "offset must be at least 0, but it is -1"),
        ({"positionIds": TensorType((1, 5), "int32")}, 'positionIds must be data\\["positionIds"\\]'),
    ],
)
def test_refused(changes: dict[str, Any], expected: str) -> None:
    given = {"input": TensorType((1, 6, 4)), "positionIds": TensorType((1, 6), "int32"), "beta": 0.1, "length": 4.0}
    with pytest.raises(ShapeError, match=expected):
        public_operators()["ScaleByPosition"].infer(**{**given, "offset": 0, **changes})
