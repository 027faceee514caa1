"""What has the right shape and still cannot run: empty weights, sizes without measure, wrong positions."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.operators import recording_method
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from tests.graph.small_graphs import HEAD_DIM, HIDDEN, TENSORS, VOCAB, Header, begin, error_of, project


@pytest.mark.parametrize("shape", [(0, HIDDEN), (VOCAB, 0)])
def test_weights_that_hold_nothing(shape: tuple[int, ...]) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["head.weight"], None, self.data["y"])  # wrong

    tensors = {**TENSORS, "head.weight": Header(shape)}
    assert "which holds no number" in error_of(build, tensors=tensors)


def test_positions_that_are_none() -> None:
    """Token ids have the same type, and another meaning."""

    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        project(self, "q")
        self.LlamaRotatePosition2D(data["q"], data["inputIds"], data["sin"], data["cos"], HEAD_DIM)  # wrong

    assert error_of(build) == (
        'LlamaRotatePosition2D (operator 3) takes only data["positionIds"] as "positionIds", but got data "inputIds".'
    )


def test_lengths_are_no_token_ids() -> None:
    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["seqLens"], self.weight["embed.weight"], self.data["x"])  # wrong

    assert 'input must be data["inputIds"] or data["positionIds"]' in error_of(build)


def test_tensors_larger_than_any_memory() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Repeat(self.data["x"], 2, 2**40, self.data["x"])  # wrong

    assert "which is larger than any memory" in error_of(build)


def test_a_norm_whose_eps_is_negative() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.RMSNorm(self.data["x"], self.weight["norm.weight"], -1e-6, self.data["x"])  # wrong

    assert "eps must be at least 0, but it is -1e-06" in error_of(build)


def test_the_last_tokens_of_two_batches() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Cat(self.data["x"], self.data["x"], 0, self.data["x"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["x"])  # wrong

    assert "input must begin with [1, tokens]" in error_of(build)


class Integers(Operator):
    """Says that it writes whole numbers."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return TensorType(input.shape, "int32")

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return input.astype(np.int32)


class ThreeCaches(Operator):
    """Takes more than keys and values."""

    parameters = (Parameter("input", Kind.INPUT), *(Parameter(name, Kind.CACHE, holds="input") for name in "kvw"))

    @staticmethod
    def infer(input: TensorType, k: TensorType, v: TensorType, w: TensorType) -> None:
        return None

    @staticmethod
    def reference(step: StepContext, input: Array, k: Array, v: Array, w: Array) -> None:
        return None


def test_operators_of_users_that_cannot_be() -> None:
    for operator in (Integers, ThreeCaches):
        setattr(ComputeGraph, operator.name, recording_method(operator))

    def integers(self: ComputeGraph) -> None:
        begin(self)
        self.Integers(self.data["x"], self.data["y"])  # wrong

    def three_caches(self: ComputeGraph) -> None:
        begin(self)
        project(self, "q")
        caches = [self.data[name] for name in ("pastKey.0", "pastValue.0", "pastKey.1")]
        self.ThreeCaches(self.data["q"], *caches)  # wrong

    try:
        assert "int32, but what operators write is float32" in error_of(integers)
        assert "must take one cache of a layer, or two" in error_of(three_caches)
    finally:
        for operator in (Integers, ThreeCaches):
            delattr(ComputeGraph, operator.name)
