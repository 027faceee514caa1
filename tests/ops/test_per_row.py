"""Functions of one token's features as kernels: the same as their definitions, and mistakes at their lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.errors import GraphError
from ftllm_nb.extend import ComputeGraph, Kind, Operator, Parameter, TensorType, per_row, row_fields
from tests.engine.two_engines import IDS, assert_alike, checked_graph, opened
from tests.graph.small_graphs import TENSORS, begin, end
from tests.memory_checkpoint import MemoryCheckpoint, normal

ARRAYS = {name: normal(number, *header.shape, scale=0.3) for number, (name, header) in enumerate(TENSORS.items())}


class Norm(Operator):
    """RMSNorm, shifted by the position."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, may_be_none=True),
        Parameter("positionIds", Kind.INPUT),
        Parameter("eps", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, **given: Any) -> TensorType:
        return input

    @staticmethod
    def reference(step: Any, input: Any, weight: Any, positionIds: Any, eps: float) -> Any:
        normal = input / np.sqrt(np.mean(input * input, -1, keepdims=True) + eps)
        return (normal if weight is None else normal * weight) + positionIds[..., None]

    @per_row
    def row(input, weight, positionIds, eps, output):  # type: ignore[no-untyped-def]
        output[:] = input / np.sqrt(np.mean(input * input) + eps)
        if weight is not None:
            output *= weight
        output += positionIds


def test_a_function_of_a_row_is_its_definition() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for weight in (self.weight["norm.weight"], None):
            self.Norm(self.data["x"], weight, self.data["positionIds"], 1e-6, self.data["y"])
            self.AddTo(self.data["x"], self.data["y"])
        end(self)

    assert_alike(build, ARRAYS, {"vocab_size": 50}, (Norm,))


class Broken(Norm):
    """One whose function goes wrong."""


def wide(input, output):  # type: ignore[no-untyped-def]
    output[:] = input[:5]


def outside(input, output):  # type: ignore[no-untyped-def]
    for at in range(len(input) + 1):
        output[at] = input[at]


def unknown(input, output):  # type: ignore[no-untyped-def]
    output[:] = input.nothing


def misspelt(input, output):  # type: ignore[no-untyped-def]
    output[:] = np.tahn(input)  # type: ignore[attr-defined]


def rebound(input, output):  # type: ignore[no-untyped-def]
    output = input * 2  # noqa: F841


def other(inputs, output):  # type: ignore[no-untyped-def]
    output[:] = inputs


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (wide, r"its wide\(\) raised ValueError in line \d+ \(output\[:\] = input\[:5\]\): could not broadcast"),
        (outside, r"its outside\(\) raised IndexError in line \d+ \(output\[at\] = input\[at\]\)"),
        (unknown, r"the kernel unknown does not compile: Unknown attribute 'nothing'"),
        (misspelt, r"the kernel misspelt does not compile: module 'numpy' has no attribute 'tahn'"),
        (rebound, r'rebound\(\) writes nothing into "output": fill the array'),
        (other, r'other\(\) takes "inputs", which is no parameter of Broken'),
    ],
)
def test_a_mistake_is_a_sentence_at_its_line(function: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Broken(self.data["x"], None, self.data["positionIds"], 1e-6, self.data["x"])
        end(self)

    monkeypatch.setattr(Broken, "lower", per_row(function).lower)
    checkpoint = MemoryCheckpoint({"max_positions": 256}, ARRAYS)
    with pytest.raises(GraphError, match=says) as raised, opened(
        CompiledExecutor, checked_graph(build, checkpoint, (Broken,)), checkpoint
    ) as executor:
        executor.run([SequenceStep(executor.cache.new_sequence(), IDS[:100])])  # each token fails
    assert str(raised.value).startswith(f"{__file__}:")


def test_fields_of_rows_have_names() -> None:
    fields = row_fields("input", "size")
    assert (fields.input, fields.size) == (0, 1)
    assert fields.values(size=7, input=3.5) == (3.5, 7)
    with pytest.raises(TypeError, match="lacks size; its fields are input, size"):
        fields.values(input=1)
    with pytest.raises(TypeError, match="has no field sise"):
        fields.values(input=1, size=2, sise=3)
