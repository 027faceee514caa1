"""Operators whose kernels nothing else runs in a whole graph: both engines agree, on features and on heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.engine.two_engines import VOCAB, assert_alike, checked_graph, opened
from tests.memory_checkpoint import MemoryCheckpoint, normal

HIDDEN, HEAD = 36, 6
ARRAYS = {
    "embed": normal(1, VOCAB, HIDDEN), "head": normal(2, VOCAB, HIDDEN, scale=HIDDEN**-0.5),
    "wide": normal(3, 2 * HIDDEN, HIDDEN, scale=HIDDEN**-0.5), "vector": normal(4, HIDDEN), "dim": normal(5, HEAD),
    "number": normal(6, 1), "gate": normal(7, 6, HIDDEN, scale=0.2), "stack": normal(8, 3, HEAD, HEAD, scale=0.4),
    "heads": normal(11, 6, 70, HEAD, scale=0.2), "part": normal(9, 3), "bias": normal(10, 2 * HIDDEN),
    "conv": normal(12, HIDDEN, 1, 3, scale=0.5), "tap": normal(13, HIDDEN, 4, scale=0.5),
}  # fmt: skip
CONFIG = {"head_dim": HEAD}


def wide(self: ComputeGraph, heads: int = 1) -> None:
    """Twice as many features, in y; with heads, in heads."""
    self.Linear(self.data["x"], self.weight["wide"], self.weight["bias"], self.data["y"])
    if heads > 1:
        self.ExpandHead(self.data["y"], 2 * HIDDEN // heads)


def gates(self: ComputeGraph) -> None:
    for operator in ("Geglu", "CrossSwiglu", "SwigluGptOss", "Swiglu"):
        for heads in (1, 3):
            wide(self, heads)
            getattr(self, operator)(self.data["y"], self.data["z"])
            if heads > 1:
                self.Flatten(self.data["z"])
            self.AddTo(self.data["x"], self.data["z"], 0.3)


def shares(self: ComputeGraph) -> None:
    """Softmax of features and of heads, in place and not; softplus."""
    data = self.data
    self.SoftMax(data["x"], data["y"])
    self.AddTo(data["x"], data["y"], 3.0)
    self.GeluNew(data["x"], data["x"])
    self.Softplus(data["x"], data["y"])
    self.Reshape(data["y"], [3, 2, -1])
    self.SoftMax(data["y"], data["y"], -1)
    self.Flatten(data["y"])
    self.MulTo(data["x"], data["y"])
    self.Mul(data["x"], 3.0, data["x"])


def operands(self: ComputeGraph) -> None:
    """Numbers of heads, of tokens and of the model; vectors of features and of heads."""
    data, weight = self.data, self.weight
    self.Linear(data["x"], weight["gate"], None, data["gate"])
    self.Split(data["gate"], -1, 2, 3, data["one"])
    self.MulTo(data["x"], weight["vector"])
    self.AddTo(data["x"], weight["number"], -0.5)
    self.MulTo(data["x"], data["one"])
    self.AddTo(data["x"], 1 + weight["vector"], 0.25)
    self.ExpandHead(data["x"], HEAD)
    self.AddTo(data["x"], data["gate"], 0.5)
    self.Reshape(data["gate"], [6, 1])
    self.MulTo(data["x"], data["gate"])
    self.AddTo(data["x"], data["one"], 2.0)
    self.AddTo(data["x"], weight["dim"])
    self.MulTo(data["x"], weight["number"])
    self.Flatten(data["x"])


def products(self: ComputeGraph) -> None:
    """Each token's heads with themselves and with weights; heads that share a matrix; axes exchanged."""
    data, weight = self.data, self.weight
    wide(self, 12)
    self.ExpandHead(data["x"], HEAD)
    self.MatMulTransB(data["x"], data["x"], data["scores"], 0.4)
    self.SoftMax(data["scores"], data["scores"])
    self.MatMul(data["scores"], data["x"], data["x"])
    self.Reshape(data["y"], [6, 2, HEAD])
    self.MatMul(data["y"], weight["stack"], data["y"], 0.5, 2)
    self.Permute(data["y"], [0, 1, 4, 3, 2], data["z"])
    self.Reshape(data["z"], [2, 6, HEAD])
    self.MatMulTransB(data["z"], weight["stack"].rows(1, 2), data["z"], 1.0, 2)
    self.Split(data["z"], 2, 1, 2, data["z"])
    self.Flatten(data["z"])
    self.LinearPerHead(data["x"], weight["heads"], data["y"])
    self.LinearPerHead(data["y"], weight["heads"].transposed(), data["x"])
    self.Flatten(data["x"])
    self.AddTo(data["x"], data["z"])


def parts(self: ComputeGraph) -> None:
    """Norms and rotations of parts of heads; each encoding has a table of its own, the first one's is used twice."""
    data, weight = self.data, self.weight
    self.RMSNormPart(data["x"], weight["part"], 0.1, 30, 33, data["x"])
    self.ExpandHead(data["x"], HEAD)
    self.RMSNormPart(data["x"], weight["part"], 0.1, 0, 3, data["y"])
    self.RopeEncoding(data["x"], data["positionIds"], 4, 100.0, 2.0)
    self.Llama3RopeEncoding(data["x"], data["positionIds"], HEAD, 100.0, 4.0, 16, 1.0, 4.0)
    self.YarnRopeEncoding(data["y"], data["positionIds"], HEAD, 100.0, 4.0, 1.2, 0.0, 2.0)
    self.RopeEncoding(data["y"], data["positionIds"], 4, 100.0, 2.0)
    self.AddTo(data["x"], data["y"])
    self.Flatten(data["x"])


def recurrences(self: ComputeGraph) -> None:
    """States of convolutions and of heads, decays of heads and of channels, norms with gates."""
    data, weight = self.data, self.weight
    self.CausalConv1D(data["x"], weight["conv"], weight["vector"], data["pastState.conv."][0], data["y"], 1)
    self.CausalConv1D(data["y"], weight["tap"], None, data["pastState.conv."][1], data["z"])
    for name, source in (("q", "x"), ("k", "y"), ("v", "z")):
        self.Mul(data[source], 1.0, data[name])
        self.ExpandHead(data[name], HEAD)
        self.L2Norm(data[name], 0.1, data[name])
    self.Linear(data["x"], weight["gate"], None, data["b"])
    self.MambaSoftplus(data["b"], weight["dim"], weight["dim"], data["g"])
    self.Sigmoid(data["b"], data["b"])
    self.RecurrentGatedDeltaRule(
        data["q"], data["k"], data["v"], data["g"], data["b"], data["pastState."][0], data["read"], 0.7
    )
    self.MambaSoftplus(data["q"], weight["dim"], weight["vector"], data["decays"])
    self.RecurrentGatedDeltaRule(
        data["q"], data["k"], data["read"], data["decays"], data["b"], data["pastState."][1], data["other"]
    )
    self.GatedRMSNorm(data["other"], data["k"], weight["dim"], 0.1, data["read"])
    self.Split(data["k"], 2, 0, 2, data["B"])
    self.Split(data["q"], 2, 3, 5, data["C"])
    self.MambaScan(
        data["v"], data["b"], data["B"], data["C"], weight["dim"], weight["dim"], weight["dim"], data["pastState."][2],
        data["v"], 0.1, 0.9,
    )  # fmt: skip
    self.GatedRMSNorm(data["v"], data["read"], weight["vector"], 0.1, data["v"], 1, 1)
    self.CumSumLastDim(data["v"])
    for name in ("read", "v"):
        self.Flatten(data[name])
        self.AddTo(data["x"], data[name], 0.5)


BUILDS = [gates, shares, operands, products, parts, recurrences]


def whole(build: Callable[[ComputeGraph], None], early: bool) -> Callable[[ComputeGraph], None]:
    """A model; `early`: the last tokens are taken before and not after what is tried."""

    def model(self: ComputeGraph) -> None:
        data = self.data
        self.Embedding(data["inputIds"], self.weight["embed"], data["x"])
        if early:
            self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        build(self)
        if not early:
            self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.RMSNorm(data["x"], None, 0.1, data["x"])
        self.Linear(data["x"], self.weight["head"], None, data["logits"])

    return model


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_both_engines_agree(build: Callable[[ComputeGraph], None]) -> None:
    assert_alike(whole(build, False), ARRAYS, CONFIG)
    if build not in (parts, recurrences):  # positions and states are those of tokens
        assert_alike(whole(build, True), ARRAYS, CONFIG)


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_nothing_runs_on_the_host(build: Callable[[ComputeGraph], None]) -> None:
    checkpoint = MemoryCheckpoint({"max_positions": 64, **CONFIG}, ARRAYS)
    with opened(CompiledExecutor, checked_graph(whole(build, False), checkpoint), checkpoint) as executor:
        (segment,) = executor._program.segments  # type: ignore[attr-defined]
        assert isinstance(segment, np.ndarray)
