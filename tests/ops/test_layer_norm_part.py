"""LayerNorm of a part of the features: by its definition, in both engines, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.layer_norm_part import LayerNormPart
from tests.engine.two_engines import VOCAB, assert_alike
from tests.memory_checkpoint import normal as array
from tests.ops.operator_runs import compute, normal


@pytest.mark.parametrize(("start", "end"), [(0, 7), (2, 5), (6, 7)])
def test_a_part_is_normalized_and_the_rest_stays(start: int, end: int) -> None:
    x, gamma, beta = normal(1, 1, 4, 7), normal(2, end - start), normal(3, end - start)
    got = compute("LayerNormPart", input=x, gamma=gamma, beta=beta, start=start, end=end, eps=0.1)
    part = x[..., start:end].astype(np.float64)
    centred = part - part.mean(-1, keepdims=True)
    expected = x.astype(np.float64)
    expected[..., start:end] = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 0.1) * gamma + beta
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_both_engines_agree() -> None:
    """Heads that lie side by side, with weights of their own, and no multiple of a vector's width."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        self.LayerNormPart(data["x"], weight["gamma"], None, 0, 5, 1e-3)
        self.LayerNormPart(data["x"], weight["gamma2"], weight["beta"], 5, 10, 1e-3)
        self.LayerNormPart(data["x"], None, None, 11, 18)
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    arrays: dict[str, Any] = {"embed": array(1, VOCAB, 18), "head": array(2, VOCAB, 18)}
    assert_alike(build, arrays | {name: array(3, 5) for name in ("gamma", "gamma2", "beta")})


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        (3, 3, "start 3 and end 3 must be within the axis: 0 ≤ start < end ≤ 7"),
        (-1, 2, "must be within"),
        (2, 8, "must be within"),
        (0, 4, r"gamma must have shape \[4\]"),
    ],
)
def test_refused(start: int, end: int, sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        LayerNormPart.infer(TensorType((1, 2, 7)), TensorType((3,)), None, start, end, 0.1)
