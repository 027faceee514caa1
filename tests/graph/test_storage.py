"""Where values lie: whatever a graph does, nothing that is still to be read is written over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.quantize_inputs import quantize_inputs
from ftllm_nb.graph.storage import StoragePlan, plan_storage
from ftllm_nb.ops.lowering import features
from ftllm_nb.ops.rotary_attention import RotaryAttention
from ftllm_nb.quant.base import WeightFormat, weight_format
from tests.graph.random_graphs import RandomGraph, random_graphs
from tests.graph.small_graphs import TENSORS, begin, check, end

TOKENS = 3

Cells = NDArray[np.int64]


def as_checked(graph: CheckedGraph) -> CheckedGraph:
    return graph


def as_fused(name: str) -> Callable[[CheckedGraph], CheckedGraph]:
    def form(graph: CheckedGraph) -> CheckedGraph:
        def format_of(weight: Value) -> WeightFormat:
            return weight_format(name)

        return quantize_inputs(fuse(graph, format_of), format_of)

    form.__name__ = name
    return form


FORMS = [as_checked, *map(as_fused, ("float32", "bfloat16", "int8", "int4g32"))]


def cells(plan: StoragePlan, value: Value, width: int) -> Cells:
    """Which floats of the arena are the value's: of each token's row, the first `width`."""
    span = plan.spans[value]
    start = span.buffer.offset // 4 + span.column
    return (start + np.arange(TOKENS)[:, None] * span.buffer.row_floats + np.arange(width)).ravel()


def padded(value: Value) -> int:
    return -(-features(value) // 16) * 16


def simulate(graph: CheckedGraph, plan: StoragePlan) -> None:
    """Run the graph on an arena whose floats hold who wrote them last."""
    writer = np.full(plan.size // 4, -1)
    names: dict[Value, int] = {}

    def read(node: Node, value: Value) -> None:
        assert (writer[cells(plan, value, features(value))] == names[value]).all(), f"{node} reads {value}"

    for node in graph.nodes:
        inputs = [value for value in node.inputs.values() if value.kind == "data"]
        for value in inputs:
            read(node, value)
        in_place = {node.inputs[name] for name in node.outputs if name in node.inputs}
        if node.operator is RotaryAttention:  # q and curk are rotated where they lie
            for name in ("q", "curk"):
                writer[cells(plan, node.inputs[name], features(node.inputs[name]))] = -2
        for value in node.outputs.values():
            written = cells(plan, value, padded(value))
            for other in set(inputs) - in_place:
                taken = cells(plan, other, features(other))
                assert not np.intersect1d(written, taken).size, f"{node} writes what it reads"
            names[value] = len(names)
            writer[written] = names[value]
        for value in node.outputs.values():
            read(node, value)
    value = graph.logits
    assert (writer[cells(plan, value, features(value))] == names[value]).all(), "the logits are gone"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(random_graphs(most_calls=25))
def test_nothing_that_is_still_read_is_written_over(graph: RandomGraph) -> None:
    checked = graph.checked()
    for form in FORMS:
        made = form(checked)
        simulate(made, plan_storage(made, TOKENS))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(random_graphs(most_calls=25))
def test_the_arena_is_no_larger_than_without_a_plan(graph: RandomGraph) -> None:
    checked = as_fused("float32")(graph.checked())
    plan = plan_storage(checked, 64)
    buffers = {id(span.buffer): span.buffer for span in plan.spans.values()}.values()
    assert max(buffer.size for buffer in buffers) <= plan.size <= sum(buffer.size for buffer in buffers)
    assert all(buffer.offset % 4096 == 0 and buffer.size % 4096 == 0 for buffer in buffers)


def layers(count: int) -> Callable[[ComputeGraph], None]:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for _ in range(count):
            self.Silu(self.data["x"], self.data["y"])
            self.Silu(self.data["y"], self.data["z"])
            self.AddTo(self.data["x"], self.data["z"])
        end(self)

    return build


@pytest.mark.parametrize("form", FORMS[:2], ids=lambda form: form.__name__)
def test_more_layers_need_no_more_memory(form: Callable[[CheckedGraph], CheckedGraph]) -> None:
    sizes = [plan_storage(form(check(layers(count), tensors=TENSORS)), 64).size for count in (1, 2, 40)]
    assert sizes[0] == sizes[1] == sizes[2]


def test_values_changed_in_place_stay_where_they_are() -> None:
    graph = check(layers(2))
    plan = plan_storage(graph, 64)
    xs = [value for node in graph.nodes for value in node.outputs.values() if value.name == "x"]
    assert len(xs) == 3 and len({id(plan.spans[value].buffer) for value in xs}) == 1


def test_values_of_a_group_are_columns_of_one_buffer() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            self.Linear(self.data["x"], self.weight[f"{name}.weight"], None, self.data[name])
        end(self)

    graph = as_fused("float32")(check(build))
    plan = plan_storage(graph, 64)
    (group,) = (node for node in graph.nodes if len(node.outputs) == 3)
    spans = [plan.spans[value] for value in group.outputs.values()]
    assert [span.column for span in spans] == [0, 32, 48], "24, 8 and 8 features, each padded to whole vectors"
    assert len({id(span.buffer) for span in spans}) == 1 and spans[0].buffer.row_floats == 80
