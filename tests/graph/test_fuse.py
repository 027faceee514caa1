"""Fusion: which operators become one, which must not, and what the others still see."""

from __future__ import annotations

import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.quant.base import WeightFormat, weight_format
from tests.graph.small_graphs import HEAD_DIM, HIDDEN, TENSORS, Build, Header, attend, begin, check, end, project

MORE = {
    "gate.weight": Header((HIDDEN, HIDDEN), "bfloat16"),
    "up.weight": Header((HIDDEN, HIDDEN), "bfloat16"),
    "wide.weight": Header((2 * HIDDEN, HIDDEN), "float16"),
    "head_norm.weight": Header((HEAD_DIM,)),
}


def by_stored_type(weight: Value) -> WeightFormat:
    return weight_format(weight.type.dtype)


def fused(build: Build) -> CheckedGraph:
    return fuse(check(build, tensors={**TENSORS, **MORE}), by_stored_type)


def operators(graph: CheckedGraph) -> list[str]:
    """Between the embedding and the last token's logits, which `end` writes."""
    names = [node.operator.name for node in graph.nodes]
    assert names[0] == "Embedding" and names[-2:] == ["SplitLastTokenStates", "Linear"]
    return names[1:-2]


def node_of(graph: CheckedGraph, operator: str) -> Node:
    (node,) = (node for node in graph.nodes if node.operator.name == operator)
    return node


def names_of(values: dict[str, Value]) -> dict[str, str]:
    return {parameter: value.name for parameter, value in values.items()}


def linear(graph: ComputeGraph, source: str, weight: str, target: str) -> None:
    matrix, bias = graph.weight[weight][".weight"], graph.weight[weight][".bias"]
    graph.Linear(graph.data[source], matrix, bias, graph.data[target])


def rotate(graph: ComputeGraph, name: str, dim: int = HEAD_DIM) -> None:
    data = graph.data
    graph.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], dim)


def test_linears_on_one_value_become_one_where_the_first_is() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        linear(self, "x", "q", "q")
        self.Silu(self.data["q"], self.data["q"])
        linear(self, "x", "k", "k")
        linear(self, "x", "v", "v")
        end(self)

    graph = fused(build)
    assert operators(graph) == ["LinearGroup", "Silu"]
    group = node_of(graph, "LinearGroup")
    assert names_of(group.inputs) == {
        "input": "x", "weight0": "q.weight", "weight1": "k.weight", "weight2": "v.weight", "bias2": "v.bias",
    }  # fmt: skip
    assert names_of(group.outputs) == {"output0": "q", "output1": "k", "output2": "v"}
    assert node_of(graph, "Silu").inputs["input"] is group.outputs["output0"]


def test_linears_stay_apart_where_the_value_or_the_format_differs() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        linear(self, "x", "gate", "a")
        linear(self, "x", "wide", "b")
        self.Silu(self.data["x"], self.data["x"])
        linear(self, "x", "up", "c")
        end(self)

    assert operators(fused(build)) == ["Linear", "Linear", "Silu", "Linear"]


def test_a_linear_that_overwrites_its_input_ends_no_group() -> None:
    """The second reads what the first wrote under the same name."""

    def build(self: ComputeGraph) -> None:
        begin(self)
        linear(self, "x", "gate", "x")
        linear(self, "x", "up", "x")
        end(self)

    graph = fused(build)
    assert operators(graph) == ["Linear", "Linear"]
    first, second = graph.nodes[1:3]
    assert second.inputs["input"] is first.outputs["output"]


def test_a_name_that_two_linears_of_a_group_write_means_the_later() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        linear(self, "x", "gate", "y")
        linear(self, "x", "up", "y")
        end(self, "y")

    graph = fused(build)
    group = node_of(graph, "LinearGroup")
    assert node_of(graph, "SplitLastTokenStates").inputs["input"] is group.outputs["output1"]


def gated(self: ComputeGraph) -> None:
    begin(self)
    linear(self, "x", "gate", "gate")
    linear(self, "x", "up", "up")


@pytest.mark.parametrize("activation", ["Silu", "Gelu"])
def test_an_activation_and_the_product_become_one(activation: str) -> None:
    def build(self: ComputeGraph) -> None:
        gated(self)
        getattr(self, activation)(self.data["gate"], self.data["y"])
        self.MulTo(self.data["y"], self.data["up"])
        end(self, "y")

    graph = fused(build)
    assert operators(graph) == ["LinearGroup", f"{activation}Multiply"]
    assert names_of(node_of(graph, f"{activation}Multiply").inputs) == {"gate": "gate", "up": "up"}


def result_is_read(self: ComputeGraph) -> None:
    self.AddTo(self.data["up"], self.data["y"])
    self.MulTo(self.data["y"], self.data["up"])


def product_with_itself(self: ComputeGraph) -> None:
    self.MulTo(self.data["y"], self.data["y"])


def gate_is_changed(self: ComputeGraph) -> None:
    self.AddTo(self.data["gate"], self.data["up"])
    self.MulTo(self.data["y"], self.data["up"])


def other_way_round(self: ComputeGraph) -> None:
    self.MulTo(self.data["up"], self.data["y"])


@pytest.mark.parametrize("body", [result_is_read, gate_is_changed, product_with_itself, other_way_round])
def test_silu_and_the_product_stay_apart(body: Build) -> None:
    def build(self: ComputeGraph) -> None:
        gated(self)
        self.Silu(self.data["gate"], self.data["y"])
        body(self)
        end(self, "y")

    found = operators(fused(build))
    assert "SiluMultiply" not in found and found.count("Silu") == found.count("MulTo") == 1


def gate_is_read(self: ComputeGraph) -> None:
    self.AddTo(self.data["up"], self.data["gate"])
    self.MulTo(self.data["y"], self.data["up"])


def product_with_its_gate(self: ComputeGraph) -> None:
    self.MulTo(self.data["y"], self.data["gate"])


@pytest.mark.parametrize("body", [gate_is_read, product_with_its_gate])
def test_a_gate_that_is_read_as_well_is_no_hindrance(body: Build) -> None:
    def build(self: ComputeGraph) -> None:
        gated(self)
        self.Silu(self.data["gate"], self.data["y"])
        body(self)
        end(self, "y")

    assert operators(fused(build))[-1] == "SiluMultiply"


def test_the_product_stays_behind_what_changes_its_other_factor() -> None:
    def build(self: ComputeGraph) -> None:
        gated(self)
        self.Silu(self.data["gate"], self.data["y"])
        self.RMSNorm(self.data["up"], self.weight["norm.weight"], 1e-5, self.data["up"])
        self.MulTo(self.data["y"], self.data["up"])
        end(self, "y")

    graph = fused(build)
    assert operators(graph) == ["LinearGroup", "RMSNorm", "SiluMultiply"]
    assert node_of(graph, "SiluMultiply").inputs["up"] is node_of(graph, "RMSNorm").outputs["output"]


def test_a_sum_and_its_norm_become_one_where_the_sum_is() -> None:
    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        linear(self, "x", "gate", "y")
        self.AddTo(data["x"], data["y"], 0.5)
        self.Silu(data["y"], data["y"])
        self.RMSNorm(data["x"], self.weight["norm.weight"], 1e-5, data["n"])
        self.AddTo(data["x"], data["n"])
        end(self)

    graph = fused(build)
    assert operators(graph) == ["Linear", "AddRMSNorm", "Silu", "AddTo"]
    node = node_of(graph, "AddRMSNorm")
    assert names_of(node.outputs) == {"input0": "x", "output": "n"}
    assert node.attributes == {"alpha": 0.5, "eps": 1e-5, "offset": 0.0}
    later = node_of(graph, "AddTo")
    assert later.inputs == {"input0": node.outputs["input0"], "input1": node.outputs["output"]}


def test_the_norm_of_another_sum_stays_alone() -> None:
    """What is normalized was changed again, or is only the same name."""

    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        self.AddTo(data["x"], data["x"])
        self.Silu(data["x"], data["x"])
        self.RMSNorm(data["x"], self.weight["norm.weight"], 1e-5, data["n"])
        end(self, "n")

    assert operators(fused(build)) == ["AddTo", "Silu", "RMSNorm"]


def test_two_norms_of_a_sum() -> None:
    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        self.AddTo(data["x"], data["x"])
        self.RMSNorm(data["x"], self.weight["norm.weight"], 1e-5, data["a"])
        self.RMSNorm(data["x"], self.weight["norm.weight"], 1e-3, data["b"])
        self.AddTo(data["a"], data["b"])
        end(self, "a")

    graph = fused(build)
    assert operators(graph) == ["AddRMSNorm", "RMSNorm", "AddTo"]
    assert node_of(graph, "AddRMSNorm").attributes["eps"] == 1e-5


def heads(self: ComputeGraph) -> None:
    begin(self)
    for name in ("q", "k", "v"):
        project(self, name)


def test_rotations_join_their_attention() -> None:
    def build(self: ComputeGraph) -> None:
        heads(self)
        rotate(self, "q", 1)
        rotate(self, "k")
        attend(self)
        end(self, "y")

    graph = fused(build)
    assert operators(graph) == ["LinearGroup", "ExpandHead", "ExpandHead", "ExpandHead", "RotaryAttention"]
    node = node_of(graph, "RotaryAttention")
    assert node.attributes["qDim"] == 1 and node.attributes["kDim"] == HEAD_DIM
    assert {"positionIds", "sin", "cos", "k", "v", "curv"} < set(node.inputs) and "input" not in node.inputs
    expanded = {node.outputs["input"] for node in graph.nodes if node.operator.name == "ExpandHead"}
    assert {node.inputs[name] for name in ("q", "curk", "curv")} == expanded


def test_the_query_of_a_layer_that_stores_nothing_is_rotated_apart() -> None:
    def build(self: ComputeGraph) -> None:
        heads(self)
        self.Linear(self.data["x"], self.weight["q.weight"], None, self.data["again"])
        self.ExpandHead(self.data["again"], HEAD_DIM)
        for name in ("q", "k", "again"):
            rotate(self, name)
        attend(self)
        attend(self, q=self.data["again"], curk=None, curv=None, output=self.data["z"])
        end(self, "z")

    graph = fused(build)
    assert operators(graph)[-3:] == ["LlamaRotatePosition2D", "RotaryAttention", "FusedAttention"]
    first, second = node_of(graph, "RotaryAttention"), node_of(graph, "FusedAttention")
    assert all(first.inputs[name] is second.inputs[name] for name in ("k", "v"))
    assert "curk" not in second.inputs and list(graph.caches) == [0]


def one_rotated(self: ComputeGraph) -> None:
    rotate(self, "q")
    attend(self)


def read_after(self: ComputeGraph) -> None:
    rotate(self, "q")
    rotate(self, "k")
    attend(self)
    self.Silu(self.data["k"], self.data["z"])


def value_is_the_key(self: ComputeGraph) -> None:
    rotate(self, "q")
    rotate(self, "k")
    attend(self, curv=self.data["k"])


def original_is_the_query(self: ComputeGraph) -> None:
    rotate(self, "q")
    rotate(self, "k")
    attend(self, original=self.data["q"])


def norm_between(self: ComputeGraph) -> None:
    rotate(self, "q")
    rotate(self, "k")
    self.RMSNorm(self.data["k"], self.weight["head_norm.weight"], 1e-5, self.data["k"])
    attend(self)


def query_is_the_key(self: ComputeGraph) -> None:
    rotate(self, "k")
    attend(self, q=self.data["k"])


@pytest.mark.parametrize(
    "body",
    [one_rotated, read_after, value_is_the_key, original_is_the_query, norm_between, query_is_the_key],
)
def test_rotations_stay_apart(body: Build) -> None:
    def build(self: ComputeGraph) -> None:
        heads(self)
        body(self)
        end(self)

    found = operators(fused(build))
    assert "FusedAttention" in found and "LlamaRotatePosition2D" in found and "RotaryAttention" not in found


def test_a_query_that_is_read_before_its_rotation_is_no_hindrance() -> None:
    def build(self: ComputeGraph) -> None:
        heads(self)
        self.Silu(self.data["q"], self.data["z"])
        rotate(self, "q")
        rotate(self, "k")
        attend(self)
        end(self)

    assert operators(fused(build))[-2:] == ["Silu", "RotaryAttention"]


def test_values_are_still_made_once_and_before_they_are_read() -> None:
    def build(self: ComputeGraph) -> None:
        heads(self)
        rotate(self, "q")
        rotate(self, "k")
        attend(self)
        linear(self, "y", "o", "y")
        self.AddTo(self.data["x"], self.data["y"])
        self.RMSNorm(self.data["x"], self.weight["norm.weight"], 1e-5, self.data["n"])
        linear(self, "n", "gate", "gate")
        linear(self, "n", "up", "up")
        self.Silu(self.data["gate"], self.data["gate"])
        self.MulTo(self.data["gate"], self.data["up"])
        self.AddTo(self.data["x"], self.data["gate"])
        end(self)

    graph = fused(build)
    made: set[Value] = set()
    for node in graph.nodes:
        assert all(value in made for value in node.inputs.values() if value.kind == "data"), node
        assert not made & set(node.outputs.values()), node
        made |= set(node.outputs.values())
    assert graph.logits in made


def test_what_is_shared_by_features_is_joined_with_nothing() -> None:
    """A gate of one number a token, a vector of the model and a number are no second values of the same shape."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        begin(self)
        self.Split(data["x"], -1, 0, 1, data["one"])
        self.Silu(data["x"], data["y"])
        self.MulTo(data["y"], data["one"])
        self.AddTo(data["y"], weight["norm.weight"])
        self.RMSNorm(data["y"], weight["norm.weight"], 1e-6, data["x"])
        end(self)

    assert operators(fused(build)) == ["Split", "Silu", "MulTo", "AddTo", "RMSNorm"]
