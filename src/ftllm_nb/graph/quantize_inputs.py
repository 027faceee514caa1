"""Products may take activations in a form of their own, as integer weights do: insert what makes it.

Each value is converted once for each form in which it is read, right before its first reader; where nothing else
reads the value, the operator that makes it quantizes it as its last step.
"""

from __future__ import annotations

import dataclasses

from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Node, Value
from ftllm_nb.graph.rewriting import makers_of, readers_of, replace_nodes
from ftllm_nb.ops.add_rms_norm import AddRMSNorm
from ftllm_nb.ops.add_rms_norm_quantize import AddRMSNormQuantize
from ftllm_nb.ops.base import Operator
from ftllm_nb.ops.quantize import Quantize
from ftllm_nb.ops.rms_norm import RMSNorm
from ftllm_nb.ops.rms_norm_quantize import RMSNormQuantize
from ftllm_nb.ops.silu_multiply import SiluMultiply
from ftllm_nb.ops.silu_multiply_quantize import SiluMultiplyQuantize
from ftllm_nb.ops.silu_multiply_split import SiluMultiplySplit
from ftllm_nb.ops.split_parts import SplitParts
from ftllm_nb.quant.base import ActivationFormat, SplitFormat

_JOINED: dict[tuple[type[Operator], type[Operator]], type[Operator]] = {
    (RMSNorm, Quantize): RMSNormQuantize,
    (AddRMSNorm, Quantize): AddRMSNormQuantize,
    (SiluMultiply, Quantize): SiluMultiplyQuantize,
    (SiluMultiply, SplitParts): SiluMultiplySplit,
}
"""Operators that can convert their `output` themselves: by what makes a value, and what converts it."""


def quantize_inputs(graph: CheckedGraph, format_of: FormatOf) -> CheckedGraph:
    """A fused graph in which products read values in the form that their weights want."""
    nodes: list[Node] = []
    quantized: dict[tuple[Value, ActivationFormat | SplitFormat], Value] = {}
    for node in graph.nodes:
        read = dict(node.inputs)
        for name, wanted in _wanted(node, format_of).items():
            source = node.inputs[name]
            if (source, wanted) not in quantized:
                made = _convert(node, source, wanted)
                quantized[source, wanted] = made.outputs["output"]
                nodes.append(made)
            read[name] = quantized[source, wanted]
        same = read == node.inputs
        nodes.append(node if same else Node(node.operator, read, node.outputs, node.attributes, node.call))
    return dataclasses.replace(graph, nodes=_join_makers(nodes, graph.logits))


def _wanted(node: Node, format_of: FormatOf) -> dict[str, ActivationFormat | SplitFormat]:
    """The inputs, by parameter, that the node wants in another form than float32."""
    if node.operator.lower is None:
        return {}
    forms = {rows: format_of(node.inputs[name]).activations for name, rows in node.products.items()}
    return {rows: form for rows, form in forms.items() if form is not None and rows in node.inputs}


def _convert(reader: Node, source: Value, wanted: ActivationFormat | SplitFormat) -> Node:
    """The node that makes the wanted form of a value."""
    columns = wanted.columns(source.type.size(-1))
    operator: type[Operator]
    attributes: dict[str, int | float]
    if isinstance(wanted, ActivationFormat):
        operator = Quantize
        attributes = {"columns": columns, "group": wanted.group or columns, "middle": wanted.middle}
    else:
        operator = SplitParts
        attributes = {"columns": columns, "parts": wanted.parts}
    made = operator.infer_outputs({"input": source.type, **attributes})
    outputs = {"output": Value(f"{source.name} for products", made["output"], "data")}
    return Node(operator, {"input": source}, outputs, attributes, reader.call)


def _join_makers(nodes: list[Node], logits: Value) -> list[Node]:
    """Let the makers of values convert them where the float values serve for nothing else, not even as logits."""
    readers, makers = readers_of(nodes), makers_of(nodes)
    replaced: dict[Node, Node | None] = {}
    for node in nodes:
        if node.operator not in (Quantize, SplitParts):
            continue
        source = node.inputs["input"]
        maker = makers.get(source)
        joined = _JOINED.get((maker.operator, node.operator)) if maker is not None else None
        if maker is None or joined is None or maker.outputs["output"] is not source:
            continue
        if len(readers[source]) != 1 or source is logits:
            continue
        outputs = {**maker.outputs, "output": node.outputs["output"]}
        replaced[maker] = Node(joined, maker.inputs, outputs, {**maker.attributes, **node.attributes}, maker.call)
        replaced[node] = None
    return replace_nodes(nodes, replaced)
