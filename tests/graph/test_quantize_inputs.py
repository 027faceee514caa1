"""Activations in the form that weights want: made once for each form, right before they are read, or by their maker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.quantize_inputs import quantize_inputs
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.linear import Linear
from ftllm_nb.quant.activations import Int8Form
from ftllm_nb.quant.base import WeightFormat, weight_format
from tests.graph.small_graphs import CONFIG, HIDDEN, TENSORS, Build, Header, begin, check, end, graph_class

MORE = {name + ".weight": Header((HIDDEN, HIDDEN), "bfloat16") for name in ("gate", "up", "down")}
MORE["wide.weight"] = Header((2 * HIDDEN, HIDDEN), "bfloat16")
Formats = Callable[[Value], WeightFormat]


def formats(**by_name: str) -> Formats:
    """Formats by the first part of a weight's name; `other`: of all others."""
    return lambda weight: weight_format(by_name.get(weight.name.split(".")[0], by_name["other"]))


def converted(build: Build, format_of: Formats) -> CheckedGraph:
    return quantize_inputs(fuse(check(build, tensors={**TENSORS, **MORE}), format_of), format_of)


def operators(graph: CheckedGraph) -> list[str]:
    """With the form in which they write."""
    return [called(node) for node in graph.nodes]


def called(node: Node) -> str:
    return node.operator.name + "".join(f" to {form.name}" for form in node.forms.values())


def nodes_of(graph: CheckedGraph, operator: str) -> list[Node]:
    return [node for node in graph.nodes if called(node) == operator]


def linear(graph: ComputeGraph, source: str, weight: str, target: str) -> None:
    graph.Linear(graph.data[source], graph.weight[f"{weight}.weight"], None, graph.data[target])


def feed_forward(self: ComputeGraph, activation: str = "Silu") -> None:
    begin(self)
    self.RMSNorm(self.data["x"], self.weight["norm.weight"], 1e-5, self.data["n"])
    linear(self, "n", "gate", "gate")
    linear(self, "n", "up", "up")
    getattr(self, activation)(self.data["gate"], self.data["gate"])
    self.MulTo(self.data["gate"], self.data["up"])
    linear(self, "gate", "down", "y")
    self.AddTo(self.data["x"], self.data["y"])
    end(self)


def test_float_weights_read_values_as_they_are() -> None:
    assert operators(converted(feed_forward, formats(other="float32"))) == [
        "Embedding", "RMSNorm", "LinearGroup", "SiluMultiply", "Linear", "AddTo", "SplitLastTokenStates", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize("activation", ["Silu", "Gelu"])
def test_makers_quantize_where_nothing_else_reads_the_value(activation: str) -> None:
    graph = converted(lambda self: feed_forward(self, activation), formats(other="int8"))
    assert operators(graph) == [
        "Embedding", "RMSNorm to int8", "LinearGroup", f"{activation}Multiply to int8", "Linear", "AddTo",
        "SplitLastTokenStates", "Convert to int8", "Linear",
    ]  # fmt: skip
    (norm,) = nodes_of(graph, "RMSNorm to int8")
    assert norm.attributes == {"eps": 1e-5, "offset": 0.0}
    assert norm.forms == {"output": Int8Form(group=0, middle=128, spreads=True)}
    (group,) = nodes_of(graph, "LinearGroup")
    assert group.inputs["input"] is norm.outputs["output"]
    assert norm.outputs["output"].type.size(-1) == 32 // 4 + 3, "int8 values, then a scale, a start and an offset"


@pytest.mark.parametrize("activation", ["Gelu", "Swiglu", "Geglu"])
def test_norms_that_centre_and_other_activations_quantize_too(activation: str) -> None:
    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        begin(self)
        self.LayerNorm(data["x"], weight["norm.weight"], None, -1, data["n"])
        linear(self, "n", "gate" if activation == "Gelu" else "wide", "y")
        getattr(self, activation)(data["y"], data["y"])
        linear(self, "y", "up", "y")
        self.AddTo(data["x"], data["y"])
        self.LayerNorm(data["x"], weight["norm.weight"], None, -1, data["n"])
        linear(self, "n", "up", "y")
        self.AddTo(data["x"], data["y"])
        end(self)

    graph = converted(build, formats(other="int8"))
    assert operators(graph)[1:8] == [
        "LayerNorm to int8", "Linear", f"{activation} to int8", "Linear", "AddLayerNorm to int8", "Linear", "AddTo",
    ]  # fmt: skip


def read_twice(self: ComputeGraph) -> None:
    begin(self)
    self.RMSNorm(self.data["x"], self.weight["norm.weight"], 1e-5, self.data["n"])
    linear(self, "n", "gate", "y")
    self.AddTo(self.data["x"], self.data["n"])
    linear(self, "n", "up", "z")
    self.AddTo(self.data["x"], self.data["y"])
    self.AddTo(self.data["x"], self.data["z"])
    end(self)


def test_a_value_that_others_read_is_kept_and_converted_once() -> None:
    """Also where the products are apart, since their weights have different formats of the same activations."""
    graph = converted(read_twice, formats(gate="int8", up="int8", other="float32"))
    assert operators(graph)[:4] == ["Embedding", "RMSNorm", "Convert to int8", "LinearGroup"]
    assert len(nodes_of(graph, "Convert to int8")) == 1


def test_each_form_is_made_for_itself() -> None:
    graph = converted(read_twice, formats(gate="int8", up="int4g32", other="float32"))
    quantizers = nodes_of(graph, "Convert to int8")
    assert [node.forms["output"] for node in quantizers] == [Int8Form(0, 128, True), Int8Form(32, 8)]
    order = operators(graph)
    assert order[order.index("Convert to int8") + 1] == "Linear", "right before its reader"
    first, second, _ = nodes_of(graph, "Linear")
    assert first.inputs["input"] is quantizers[0].outputs["output"]
    assert second.inputs["input"] is quantizers[1].outputs["output"]
    assert quantizers[0].inputs["input"] is quantizers[1].inputs["input"]


def test_one_of_two_readers_is_no_product_with_integers() -> None:
    graph = converted(feed_forward, formats(gate="int8", other="float32"))
    assert operators(graph)[1:5] == ["RMSNorm", "Convert to int8", "Linear", "Linear"]
    quantized, plain, *_ = nodes_of(graph, "Linear")
    assert quantized.inputs["input"].name == "n for products" and plain.inputs["input"].name == "n"


def test_a_sum_is_quantized_as_its_norm_and_stays_a_sum() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        linear(self, "x", "gate", "y")
        self.AddTo(self.data["x"], self.data["y"])
        self.RMSNorm(self.data["x"], self.weight["norm.weight"], 1e-5, self.data["n"])
        linear(self, "n", "up", "y")
        self.AddTo(self.data["x"], self.data["y"])
        end(self)

    graph = converted(build, formats(other="int8"))
    assert operators(graph)[3:6] == ["AddRMSNorm to int8", "Linear", "AddTo"]
    (norm,) = nodes_of(graph, "AddRMSNorm to int8")
    (add,) = nodes_of(graph, "AddTo")
    assert add.inputs["input0"] is norm.outputs["input0"]


def test_the_sum_itself_is_not_what_is_quantized_with_the_norm() -> None:
    """The product reads the sum, not its norm: the two must not be taken for each other."""

    def build(self: ComputeGraph) -> None:
        begin(self)
        linear(self, "x", "gate", "y")
        self.AddTo(self.data["x"], self.data["y"])
        self.RMSNorm(self.data["x"], self.weight["norm.weight"], 1e-5, self.data["n"])
        linear(self, "x", "up", "x")
        self.AddTo(self.data["x"], self.data["n"])
        end(self)

    graph = converted(build, formats(other="int8"))
    assert operators(graph)[3:6] == ["AddRMSNorm", "Convert to int8", "Linear"]
    (norm,) = nodes_of(graph, "AddRMSNorm")
    assert nodes_of(graph, "Convert to int8")[1].inputs["input"] is norm.outputs["input0"]


def test_what_has_heads_is_converted_apart() -> None:
    """A user's product may take [1, tokens, heads, dim]; kernels that convert what they make take no heads."""

    class Heads(Linear):
        @staticmethod
        def infer(input: TensorType, weight: TensorType, bias: TensorType | None) -> TensorType:
            return TensorType((*input.shape[:2], weight.size(0)))

    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Repeat(self.data["x"], 2, 2, self.data["y"])
        self.ExpandHead(self.data["y"], HIDDEN)
        self.AddTo(self.data["y"], self.data["y"])
        self.RMSNorm(self.data["y"], self.weight["norm.weight"], 1e-5, self.data["n"])
        self.Heads(self.data["n"], self.weight["wide.weight"], None, self.data["x"])
        end(self)

    model = type("Model", (graph_class(build),), {"operators": (Heads,)})
    tensors = {**TENSORS, "wide.weight": Header((HIDDEN, 2 * HIDDEN))}
    checked, format_of = check_graph(build_graph(model, CONFIG), tensors), formats(other="int8")
    made = operators(quantize_inputs(fuse(checked, format_of), format_of))
    at = made.index("AddRMSNorm")
    assert made[at : at + 3] == ["AddRMSNorm", "Convert to int8", "Heads"]


def test_logits_stay_numbers_though_only_a_product_reads_them() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.RMSNorm(self.data["last"], self.weight["norm.weight"], 1e-5, self.data["logits"])
        linear(self, "logits", "gate", "y")

    graph = converted(build, formats(other="int8"))
    assert operators(graph) == ["Embedding", "SplitLastTokenStates", "RMSNorm", "Convert to int8", "Linear"]
    assert graph.logits in nodes_of(graph, "RMSNorm")[0].outputs.values()


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "int8", "int8g32", "int4", "int4g32", "int4g128"])
def test_readers_read_what_their_format_says(name: str) -> None:
    graph = converted(feed_forward, formats(other=name))
    wanted = weight_format(name).activations
    for node in graph.nodes:
        if node.operator.name in ("Linear", "LinearGroup"):
            size = node.inputs["input"].type.size(-1)
            assert size == (HIDDEN if wanted is None else wanted.row_bytes(HIDDEN) // 4)
