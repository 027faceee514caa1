"""Products with integer weights take quantized activations: insert what makes them.

Each value is quantized once for each group size that reads it, right before its first reader; where nothing else
reads the value, the operator that makes it quantizes it as its last step.
"""

from __future__ import annotations

import dataclasses

from ftllm_nb.graph.fuse import makers_of, readers_of, replace_nodes
from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Node, Value
from ftllm_nb.ops.add_rms_norm import AddRMSNorm
from ftllm_nb.ops.add_rms_norm_quantize import AddRMSNormQuantize
from ftllm_nb.ops.base import Operator
from ftllm_nb.ops.linear import Linear
from ftllm_nb.ops.linear_group import LinearGroup
from ftllm_nb.ops.quantize import Quantize
from ftllm_nb.ops.rms_norm import RMSNorm
from ftllm_nb.ops.rms_norm_quantize import RMSNormQuantize
from ftllm_nb.ops.silu_multiply import SiluMultiply
from ftllm_nb.ops.silu_multiply_quantize import SiluMultiplyQuantize
from ftllm_nb.quant.base import ActivationFormat

_QUANTIZING: dict[type[Operator], type[Operator]] = {
    RMSNorm: RMSNormQuantize,
    AddRMSNorm: AddRMSNormQuantize,
    SiluMultiply: SiluMultiplyQuantize,
}
"""Operators that can quantize their `output` themselves."""


def quantize_inputs(graph: CheckedGraph, format_of: FormatOf) -> CheckedGraph:
    """A fused graph in which Linears with integer weights read quantized values."""
    nodes: list[Node] = []
    quantized: dict[tuple[Value, ActivationFormat], Value] = {}
    for node in graph.nodes:
        wanted = _activations(node, format_of)
        if wanted is None:
            nodes.append(node)
            continue
        source = node.inputs["input"]
        if (source, wanted) not in quantized:
            made = _quantize(node, source, wanted)
            quantized[source, wanted] = made.outputs["output"]
            nodes.append(made)
        read = {**node.inputs, "input": quantized[source, wanted]}
        nodes.append(Node(node.operator, read, node.outputs, node.attributes, node.call))
    return dataclasses.replace(graph, nodes=_join_makers(nodes))


def _activations(node: Node, format_of: FormatOf) -> ActivationFormat | None:
    """How the node wants its input quantized, or None."""
    if node.operator is Linear:
        return format_of(node.inputs["weight"]).activations
    if node.operator is LinearGroup:
        return format_of(node.inputs["weight0"]).activations
    return None


def _quantize(reader: Node, source: Value, wanted: ActivationFormat) -> Node:
    columns = wanted.columns(source.type.size(-1))
    attributes: dict[str, int | float] = {
        "columns": columns, "group": wanted.group or columns, "middle": wanted.middle,
    }  # fmt: skip
    made = Quantize.infer_outputs({"input": source.type, **attributes})
    outputs = {"output": Value(f"{source.name} in 8 bits", made["output"], "data")}
    return Node(Quantize, {"input": source}, outputs, attributes, reader.call)


def _join_makers(nodes: list[Node]) -> list[Node]:
    """Let the makers of values quantize them where the float values serve for nothing else."""
    readers, makers = readers_of(nodes), makers_of(nodes)
    replaced: dict[Node, Node | None] = {}
    for node in nodes:
        if node.operator is not Quantize:
            continue
        source = node.inputs["input"]
        maker = makers.get(source)
        joined = _QUANTIZING.get(maker.operator) if maker is not None else None
        if maker is None or joined is None or readers[source] != 1 or maker.outputs["output"] is not source:
            continue
        outputs = {**maker.outputs, "output": node.outputs["output"]}
        replaced[maker] = Node(joined, maker.inputs, outputs, {**maker.attributes, **node.attributes}, maker.call)
        replaced[node] = None
    return replace_nodes(nodes, replaced)
