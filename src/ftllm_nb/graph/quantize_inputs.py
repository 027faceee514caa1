"""Products may take activations in a form of their own, as integer weights do: insert what makes it.

Each value is converted once for each form in which it is read, right before its first reader; where nothing else
reads the value, and the operator that makes it offers the form, it writes it so.
"""

from __future__ import annotations

import dataclasses

from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Node, Value
from ftllm_nb.graph.rewriting import makers_of, readers_of, replace_nodes
from ftllm_nb.ops.convert import Convert
from ftllm_nb.quant.activations import ActivationForm


def quantize_inputs(graph: CheckedGraph, format_of: FormatOf) -> CheckedGraph:
    """A fused graph in which products read values in the form that their weights want."""
    nodes: list[Node] = []
    converted: dict[tuple[Value, ActivationForm], Value] = {}
    for node in graph.nodes:
        read = dict(node.inputs)
        for name, form in _wanted(node, format_of).items():
            source = node.inputs[name]
            if (source, form) not in converted:
                value = Value(f"{source.name} for products", form.type(source.type), "data")
                converted[source, form] = value
                nodes.append(Node(Convert, {"input": source}, {"output": value}, {}, node.call, {"output": form}))
            read[name] = converted[source, form]
        nodes.append(node if read == node.inputs else dataclasses.replace(node, inputs=read))
    return dataclasses.replace(graph, nodes=_join_makers(nodes, graph.logits))


def _wanted(node: Node, format_of: FormatOf) -> dict[str, ActivationForm]:
    """The inputs, by parameter, that the node wants in another form than float32."""
    if node.is_on_host:
        return {}
    forms = {rows: format_of(node.inputs[name]).activations for name, rows in node.products.items()}
    return {rows: form for rows, form in forms.items() if form is not None and rows in node.inputs}


def _join_makers(nodes: list[Node], logits: Value) -> list[Node]:
    """Let the makers of values convert them where the float values serve for nothing else, not even as logits."""
    readers, makers = readers_of(nodes), makers_of(nodes)
    replaced: dict[Node, Node | None] = {}
    for node in nodes:
        source = node.inputs["input"] if node.operator is Convert else None
        maker = makers.get(source) if source is not None else None
        if source is None or maker is None or len(readers[source]) != 1 or source is logits:
            continue
        if source.type.rank != 3:  # kernels that convert what they make take a token's features as one run
            continue
        (name,) = (name for name, value in maker.outputs.items() if value is source)
        form = node.forms["output"]
        if isinstance(form, maker.operator.parameter(name).forms):
            outputs = {**maker.outputs, name: node.outputs["output"]}
            replaced[maker] = dataclasses.replace(maker, outputs=outputs, forms={name: form})
            replaced[node] = None
    return replace_nodes(nodes, replaced)
