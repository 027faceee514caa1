"""What operators say of their weights holds whoever the operator is: a user's own is treated as Linear is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.engine.weight_types import WeightTypes, embedding_weights
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.quantize_inputs import quantize_inputs
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, Work
from ftllm_nb.ops.linear import Linear
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.quant.base import weight_format
from tests.engine.two_engines import STEPS, VOCAB, checked_graph, opened, run_steps
from tests.graph.small_graphs import Build
from tests.memory_checkpoint import MemoryCheckpoint, normal

HIDDEN, EXPERTS, INNER = 32, 4, 64
CONFIG = {"max_position_embeddings": 256, "vocab_size": VOCAB}
ARRAYS = {
    "embed": normal(1, VOCAB, HIDDEN),
    "proj": normal(2, HIDDEN, HIDDEN, scale=0.3),
    "up": normal(3, EXPERTS, INNER, HIDDEN, scale=0.2),
    "down": normal(4, EXPERTS, HIDDEN, INNER, scale=0.2),
    "mix": normal(5, HIDDEN, HIDDEN),
}


class Projection(Linear):
    """A user's operator that inherits a kernel's row, but is another one than Linear."""


class First(Operator):
    """The first of a stack of experts, whose products are of the input and of what is inside."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("up", Kind.WEIGHT, multiplies="input"),
        Parameter("down", Kind.WEIGHT, multiplies=""),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, up: TensorType, down: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, up: Array, down: Array) -> Array:
        return np.asarray(input @ up[0].T @ down[0].T)

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        return Work(share=1 / types["up"].size(0))


class Mix(Operator):
    """Packs a weight of which no parameter says that it is multiplied."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("weight", Kind.WEIGHT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType, weight: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array) -> Array:
        return np.asarray(input @ weight.T)


class Packing(Mix):
    """With a kernel's row."""

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lowering.weight([node.inputs["weight"]])


def checkpoint() -> MemoryCheckpoint:
    return MemoryCheckpoint(CONFIG, ARRAYS)


def graph(build: Build, *operators: type[Operator]) -> CheckedGraph:
    def whole(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed"], self.data["x"])
        build(self)
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Linear(self.data["last"], self.weight["embed"], self.weight["none"], self.data["logits"])

    return checked_graph(whole, checkpoint(), operators)


def projected(self: ComputeGraph) -> None:
    self.Projection(self.data["x"], self.weight["proj"], self.weight["none"], self.data["x"])


def experts(self: ComputeGraph) -> None:
    self.First(self.data["x"], self.weight["up"], self.weight["down"], self.data["x"])


def mixed(name: str) -> Build:
    def build(self: ComputeGraph) -> None:
        getattr(self, name)(self.data["x"], self.weight["mix"], self.data["x"])

    return build


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8g32", "int4g32"])
def test_the_product_of_a_user_s_operator_reads_what_its_format_wants(dtype: str) -> None:
    checked, types = graph(projected, Projection), WeightTypes(dtype)
    prepared = quantize_inputs(fuse(checked, types.formats(checked)), types.formats(checked))
    (node,) = (node for node in prepared.nodes if node.operator is Projection)
    wanted = weight_format(dtype).activations
    assert node.inputs["input"].type.size(-1) == (HIDDEN if wanted is None else wanted.row_bytes(HIDDEN) // 4)
    results = []
    for kind in (CompiledExecutor, ReferenceExecutor):
        executor = kind(checked, checkpoint(), weight_types=types, kv_cache_dtype="float32")
        results.append(run_steps(executor, STEPS))
        executor.close()
    spread = np.abs(results[1]).max()
    np.testing.assert_allclose(*results, rtol=0, atol=(0.03 if dtype.startswith("int") else 1e-4) * spread)


def test_the_work_of_a_stack_of_experts_is_that_of_those_that_are_chosen() -> None:
    found = size_of(graph(experts, First), WeightTypes("int8g32"))
    up, down, _ = found.linear_weights
    assert [each.in_features for each in (up, down)] == [HIDDEN, INNER]
    assert up.operations == down.operations == 2 * HIDDEN * INNER
    assert up.packed_bytes == 4 * EXPERTS * INNER * HIDDEN, "float32: no kernel reads it"
    assert up.bytes_read(1) == up.packed_bytes // EXPERTS and up.bytes_read(9) == up.packed_bytes


def test_what_runs_on_the_host_reads_float32_whatever_the_type() -> None:
    checked, types = graph(experts, First), WeightTypes("int4g32")
    assert {value.name for value in checked.packed} == {"embed"}
    values = []
    for kind in (CompiledExecutor, ReferenceExecutor):
        executor = kind(checked, checkpoint(), weight_types=types, kv_cache_dtype="float32")
        values.append(run_steps(executor, STEPS))
        executor.close()
    np.testing.assert_allclose(*values, rtol=0, atol=0.02 * np.abs(values[1]).max())


def test_tables_and_the_matrix_of_the_logits_are_embeddings() -> None:
    assert {value.name for value in embedding_weights(graph(projected, Projection))} == {"embed"}

    def ends_in_a_projection(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed"], self.data["x"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Projection(self.data["last"], self.weight["other"], self.weight["none"], self.data["logits"])

    own = MemoryCheckpoint(CONFIG, {"embed": ARRAYS["embed"], "other": ARRAYS["embed"]})
    found = embedding_weights(checked_graph(ends_in_a_projection, own, (Projection,)))
    assert {value.name for value in found} == {"embed", "other"}


def test_a_weight_that_is_packed_must_say_what_it_multiplies() -> None:
    checked = graph(mixed("Packing"), Packing)
    with pytest.raises(GraphError, match='packs weight "mix", but its Parameter does not say by what it is multiplied'):
        CompiledExecutor(checked, checkpoint())
    with opened(CompiledExecutor, graph(mixed("Mix"), Mix), checkpoint()) as executor:
        assert np.isfinite(run_steps(executor, STEPS)).all()


def test_a_misspelt_factor_is_refused() -> None:
    class Wrong(Linear):
        parameters = (Parameter("input", Kind.INPUT), Parameter("weight", Kind.WEIGHT, multiplies="inptu"))

    with pytest.raises(GraphError, match='Wrong has a weight "weight" that multiplies "inptu", which is none of its'):
        type("Model", (ComputeGraph,), {"operators": (Wrong,)})


def test_a_vector_is_no_matrix() -> None:
    class Loose(Mix):
        parameters = (
            Parameter("input", Kind.INPUT),
            Parameter("weight", Kind.WEIGHT, multiplies="input"),
            Parameter("output", Kind.OUTPUT),
        )

    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed"], self.data["x"])
        self.Loose(self.data["x"], self.weight["norm"], self.data["x"])

    own = MemoryCheckpoint(CONFIG, {"embed": ARRAYS["embed"], "norm": np.ones(HIDDEN, np.float32)})
    with pytest.raises(GraphError, match=r'Loose .* takes a matrix as "weight", but weight "norm" is \[32\] float32'):
        checked_graph(build, own, (Loose,))
