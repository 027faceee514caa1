"""Patterns of made-up operators: where they are found, where they must not be, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse_into
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.fusion import Part, Pattern
from ftllm_nb.quant.base import WeightFormat, weight_format
from tests.engine.two_engines import VOCAB, checked_graph
from tests.graph.small_graphs import Build
from tests.memory_checkpoint import MemoryCheckpoint

ARRAYS = {"embed": np.ones((VOCAB, 16), np.float32)}


class _Same(Operator):
    """What the operators of this file have in common: the output is of the first input's type."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @classmethod
    def infer(cls, **types: TensorType) -> TensorType | tuple[TensorType, ...]:
        first = next(iter(types.values()))
        return first if len(cls.written()) == 1 else (first,) * len(cls.written())

    @staticmethod
    def reference(step: StepContext, **arrays: Array) -> Array:
        return next(iter(arrays.values()))


class Negate(_Same):
    """One."""


class Half(_Same):
    """Another."""


class Scale(_Same):
    """With a number."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("by", Kind.FLOAT), Parameter("output", Kind.OUTPUT))


class Plus(_Same):
    """In place."""

    parameters = (Parameter("input0", Kind.INPLACE), Parameter("input1", Kind.INPUT))


NEGATE = Part(Negate, {"input": "x"}, {"output": "negative"})


class NegateHalf(_Same):
    """Two become one, where the second is."""

    parameters = (Parameter("x", Kind.INPUT), Parameter("y", Kind.OUTPUT))
    fuses = (Pattern((NEGATE, Part(Half, {"input": "negative"}, {"output": "y"}))),)


class EarlyNegateHalf(NegateHalf):
    """The same, where the first is."""

    fuses = (Pattern(NegateHalf.fuses[0].parts, at=0),)


class NegateHalfNegate(_Same):
    """Three, of which two are a smaller pattern."""

    parameters = NegateHalf.parameters
    fuses = (
        Pattern((NEGATE, Part(Half, {"input": "negative"}, {"output": "half"}), Part(Negate, {"input": "half"},
                                                                                     {"output": "y"}))),
    )  # fmt: skip


class NegateHalfTwice(_Same):
    """Made of what another pattern makes."""

    parameters = NegateHalf.parameters
    fuses = (Pattern((Part(NegateHalf, {}, {"y": "between"}), Part(NegateHalf, {"x": "between"}))),)


class PlusHalf(_Same):
    """Keeps the sum, which it changes in place, and stands where the second is."""

    parameters = (*Plus.parameters, Parameter("output", Kind.OUTPUT))
    fuses = (
        Pattern((Part(Plus, {}, {"input0": "sum"}), Part(Half, {"input": "sum"})), writes={"input0": "sum"}),
    )


class EarlyPlusHalf(PlusHalf):
    """Where the first is."""

    fuses = (Pattern(PlusHalf.fuses[0].parts, at=0, writes={"input0": "sum"}),)


class ScaleTwice(_Same):
    """Two by one number."""

    parameters = (Parameter("x", Kind.INPUT), Parameter("by", Kind.FLOAT), Parameter("y", Kind.OUTPUT))
    fuses = (
        Pattern((Part(Scale, {"input": "x"}, {"output": "once"}), Part(Scale, {"input": "once"}, {"output": "y"}))),
    )


def as_float32(weight: Value) -> WeightFormat:
    return weight_format("float32")


def fused(build: Build, *operators: type[Operator], logits_of: str = "x") -> CheckedGraph:
    def whole(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed"], self.data["x"])
        build(self)
        self.SplitLastTokenStates(self.data[logits_of], self.data["seqLens"], self.data["last"])
        self.Linear(self.data["last"], self.weight["embed"], self.weight["none"], self.data["logits"])

    checkpoint = MemoryCheckpoint({"max_position_embeddings": 9, "vocab_size": VOCAB}, ARRAYS)
    return fuse_into(checked_graph(whole, checkpoint, (Negate, Half, Scale, Plus)), as_float32, operators)


def body(graph: CheckedGraph) -> Sequence[Node]:
    return graph.nodes[1:-2]


def names(graph: CheckedGraph) -> list[str]:
    return [node.operator.name for node in body(graph)]


def test_two_become_one() -> None:
    def build(self: ComputeGraph) -> None:
        self.Negate(self.data["x"], self.data["n"])
        self.Half(self.data["n"], self.data["y"])

    graph = fused(build, NegateHalf, logits_of="y")
    assert names(graph) == ["NegateHalf"]
    (node,) = body(graph)
    assert node.inputs == {"x": graph.nodes[0].outputs["output"]}
    assert node.outputs == {"y": graph.nodes[2].inputs["input"]} and node.attributes == {}


def test_an_inner_value_that_another_reads_stays() -> None:
    def build(self: ComputeGraph) -> None:
        self.Negate(self.data["x"], self.data["n"])
        self.Half(self.data["n"], self.data["y"])
        self.Plus(self.data["y"], self.data["n"])

    assert names(fused(build, NegateHalf, logits_of="y")) == ["Negate", "Half", "Plus"]


def test_an_inner_value_that_is_the_logits_stays() -> None:
    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed"], self.data["x"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Negate(self.data["last"], self.data["logits"])
        self.Half(self.data["logits"], self.data["y"])

    config = {"max_position_embeddings": 9, "vocab_size": 16}
    checkpoint = MemoryCheckpoint(config, {"embed": np.ones((16, 16), np.float32)})
    graph = fuse_into(checked_graph(build, checkpoint, (Negate, Half)), as_float32, [NegateHalf])
    assert [node.operator.name for node in graph.nodes[2:]] == ["Negate", "Half"]


def changed_between(self: ComputeGraph) -> None:
    self.Negate(self.data["x"], self.data["n"])
    self.Plus(self.data["x"], self.data["x"])
    self.Half(self.data["n"], self.data["y"])


def test_what_is_read_is_not_changed_in_place_before() -> None:
    """The fused operator would read the changed value; where it stands earlier, it would not."""
    assert names(fused(changed_between, NegateHalf)) == ["Negate", "Plus", "Half"]
    assert names(fused(changed_between, EarlyNegateHalf)) == ["EarlyNegateHalf", "Plus"]


def test_what_is_written_is_not_read_before() -> None:
    def build(self: ComputeGraph) -> None:
        self.Negate(self.data["x"], self.data["n"])
        self.Plus(self.data["x"], self.data["n"])
        self.Negate(self.data["x"], self.data["z"])
        self.Half(self.data["x"], self.data["y"])

    assert names(fused(build, PlusHalf)) == ["Negate", "Plus", "Negate", "Half"]
    graph = fused(build, EarlyPlusHalf)
    assert names(graph) == ["Negate", "EarlyPlusHalf", "Negate"]
    _, plus, negate = body(graph)
    assert negate.inputs["input"] is plus.outputs["input0"], "the sum is kept"


def test_what_is_read_earlier_is_made_by_then() -> None:
    class EarlyHalfPlus(_Same):
        parameters = (Parameter("x", Kind.INPUT), Parameter("other", Kind.INPUT), Parameter("y", Kind.OUTPUT))
        fuses = (
            Pattern(
                (Part(Half, {"input": "x"}, {"output": "half"}),
                 Part(Plus, {"input0": "half", "input1": "other"}, {"input0": "y"})), at=0,
            ),
        )  # fmt: skip

    def build(self: ComputeGraph) -> None:
        self.Half(self.data["x"], self.data["h"])
        self.Negate(self.data["x"], self.data["n"])
        self.Plus(self.data["h"], self.data["n"])

    assert names(fused(build, EarlyHalfPlus, logits_of="h")) == ["Half", "Negate", "Plus"]


def test_values_that_are_one_name_are_one_value_and_numbers_are_equal() -> None:
    def scaled(first: float, second: float) -> Build:
        def build(self: ComputeGraph) -> None:
            self.Scale(self.data["x"], first, self.data["n"])
            self.Scale(self.data["n"], second, self.data["y"])

        return build

    assert names(fused(scaled(2, 3), ScaleTwice, logits_of="y")) == ["Scale", "Scale"]
    graph = fused(scaled(2, 2), ScaleTwice, logits_of="y")
    assert names(graph) == ["ScaleTwice"] and body(graph)[0].attributes == {"by": 2}


def chain(self: ComputeGraph) -> None:
    for operator in ("Negate", "Half", "Negate", "Half"):
        getattr(self, operator)(self.data["x"], self.data["x"])


@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_of_patterns(backwards: bool) -> None:
    """Whatever the order in which operators are found: the larger first, and patterns of patterns last."""

    def found(*operators: type[Operator]) -> list[str]:
        return names(fused(chain, *(reversed(operators) if backwards else operators)))

    assert found(NegateHalf) == ["NegateHalf", "NegateHalf"]
    assert found(NegateHalf, NegateHalfNegate) == ["NegateHalfNegate", "Half"]
    assert found(NegateHalf, NegateHalfTwice) == ["NegateHalfTwice"]
    assert found(EarlyNegateHalf, NegateHalf) == ["EarlyNegateHalf", "EarlyNegateHalf"], "by name, of equal ones"


def test_a_part_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(TypeError, match="Half, renames inptu"):
        Part(Half, {"inptu": "x"})
    with pytest.raises(TypeError, match=r"Plus, .* writes without a name input0"):
        Part(Plus)

    class Apart(NegateHalf):
        fuses = (Pattern((NEGATE, Part(Half, {"input": "x2"}, {"output": "y"}))),)

    with pytest.raises(TypeError, match="Apart has a part that no value joins"):
        fused(chain, Apart)
