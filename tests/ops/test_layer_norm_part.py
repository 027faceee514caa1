"""LayerNorm of a part of the features: by its definition, in both engines, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.lower import lower
from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.layer_norm_part import LayerNormPart
from ftllm_nb.quant.base import weight_format
from tests.engine.two_engines import VOCAB, assert_alike, checked_graph
from tests.graph.small_graphs import Build
from tests.memory_checkpoint import MemoryCheckpoint
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


WIDTH = 20
WEIGHTS = {name: array(3 + number, 5) for number, name in enumerate(("gamma", "gamma2", "beta"))}


def parts_of(*parts: tuple[str | None, str | None, int, int, float]) -> Build:
    """A graph with these parts: gamma, beta, start, end, eps."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        for gamma, beta, start, end, eps in parts:
            given = (None if name is None else weight[name] for name in (gamma, beta))
            self.LayerNormPart(data["x"], *given, start, end, eps)
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    return build


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        ([("gamma", "beta", 0, 5, 0.1), ("gamma2", None, 5, 10, 0.1), ("gamma", "beta", 10, 15, 0.1)], [1]),
        ([(None, None, 2, 7, 0.1), (None, "beta", 7, 12, 0.1)], [1]),
        # Not side by side, of two sizes, with and without weights, one on top of the other: a row each.
        ([("gamma", None, 5, 10, 0.1), ("gamma2", None, 0, 5, 0.1)], [2]),
        ([("gamma", None, 0, 5, 0.1), (None, None, 5, 12, 0.1)], [2]),
        ([("gamma", None, 0, 5, 0.1), (None, None, 5, 10, 0.1)], [2]),
        ([("gamma", None, 0, 5, 0.1), ("gamma2", None, 3, 8, 0.1)], [2]),
        # One eps for all.
        ([("gamma", None, 0, 5, 0.1), ("gamma2", None, 5, 10, 0.2)], [1, 1]),
    ],
)
def test_parts_of_one_tensor_are_one_operator(parts: list[Any], rows: list[int]) -> None:
    build = parts_of(*parts)
    arrays: dict[str, Any] = {"embed": array(1, VOCAB, WIDTH), "head": array(2, VOCAB, WIDTH), **WEIGHTS}
    assert_alike(build, arrays)
    checkpoint = MemoryCheckpoint({"max_position_embeddings": 64, "vocab_size": VOCAB}, arrays)
    graph = fuse(checked_graph(build, checkpoint), lambda _: weight_format("float32"))
    labels = [label.operator for labels in lower(graph, lambda _: weight_format("float32"), {}, 8).labels
              for label in labels]  # fmt: skip
    names = [node.operator.name for node in graph.nodes if node.operator.name.startswith("LayerNorm")]
    assert names == ["LayerNormParts" if len(rows) == 1 else "LayerNormPart"] * len(rows)
    assert sum(label.startswith("LayerNormPart") for label in labels) == sum(rows)


def test_a_part_that_is_read_in_between_ends_the_chain() -> None:
    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        self.LayerNormPart(data["x"], weight["gamma"], None, 0, 5, 0.1)
        self.Silu(data["x"], data["y"])
        self.LayerNormPart(data["x"], weight["gamma2"], None, 5, 10, 0.1)
        self.AddTo(data["x"], data["y"])
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    arrays: dict[str, Any] = {"embed": array(1, VOCAB, WIDTH), "head": array(2, VOCAB, WIDTH), **WEIGHTS}
    assert_alike(build, arrays)


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
