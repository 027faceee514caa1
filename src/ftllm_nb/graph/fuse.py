"""Fusion: rewrite a checked graph so that fewer passes over memory and fewer barriers are needed.

Each rule replaces nodes by one of ops/'s internal operators and leaves the values that others read as they are:

- nodes that an operator `groups`, as Linears on one value, with weights in one format, become one of it;
- Silu and the MulTo on its result become SiluMultiply;
- AddTo and the RMSNorm that reads the sum next become AddRMSNorm;
- the rotations of q and curk, used nowhere else, join their FusedAttention as RotaryAttention.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable

from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Node, Value
from ftllm_nb.graph.operators import all_operators
from ftllm_nb.ops.add_rms_norm import AddRMSNorm
from ftllm_nb.ops.add_to import AddTo
from ftllm_nb.ops.base import Operator
from ftllm_nb.ops.fused_attention import FusedAttention
from ftllm_nb.ops.llama_rotate_position_2d import LlamaRotatePosition2D
from ftllm_nb.ops.mul_to import MulTo
from ftllm_nb.ops.rms_norm import RMSNorm
from ftllm_nb.ops.rotary_attention import RotaryAttention
from ftllm_nb.ops.silu import Silu
from ftllm_nb.ops.silu_multiply import SiluMultiply


def fuse(graph: CheckedGraph, format_of: FormatOf) -> CheckedGraph:
    """The same computation in fewer operators."""
    nodes = graph.nodes
    for operator in all_operators().values():
        if operator.groups is not None:
            nodes = _group(nodes, operator, format_of)
    for rule in (_join_silu, _join_rotations, _join_residual):
        nodes = rule(nodes)
    return dataclasses.replace(graph, nodes=nodes)


def _group(nodes: list[Node], group: type[Operator], format_of: FormatOf) -> list[Node]:
    """Nodes that become one, at the place of the first: the others' outputs are ready earlier."""
    numbered = {parameter.name for parameter in group.parameters if parameter.many}

    def key(node: Node) -> Hashable:
        shared = frozenset((name, value) for name, value in node.inputs.items() if name not in numbered)
        formats = tuple(format_of(node.inputs[name]) for name in node.products)
        return shared, frozenset(node.attributes.items()), formats

    members: dict[Hashable, list[Node]] = {}
    for node in nodes:
        if node.operator is group.groups:
            members.setdefault(key(node), []).append(node)
    fused: list[Node] = []
    for node in nodes:
        together = members[key(node)] if node.operator is group.groups else []
        if len(together) < 2:
            fused.append(node)
        elif node is together[0]:
            fused.append(_grouped(together, group, numbered))
    return fused


def _grouped(nodes: list[Node], group: type[Operator], numbered: set[str]) -> Node:
    inputs: dict[str, Value] = {}
    outputs: dict[str, Value] = {}
    for number, node in enumerate(nodes):
        inputs |= {f"{name}{number}" if name in numbered else name: value for name, value in node.inputs.items()}
        outputs |= {f"{name}{number}": value for name, value in node.outputs.items()}
    return Node(group, inputs, outputs, nodes[0].attributes, nodes[0].call)


def readers_of(nodes: list[Node]) -> Counter[Value]:
    """How often each value is read."""
    return Counter(value for node in nodes for value in node.inputs.values())


def makers_of(nodes: list[Node]) -> dict[Value, Node]:
    """The node that writes each value."""
    return {value: node for node in nodes for value in node.outputs.values()}


def _join_silu(nodes: list[Node]) -> list[Node]:
    readers, makers = readers_of(nodes), makers_of(nodes)
    replaced: dict[Node, Node | None] = {}
    for node in nodes:
        if node.operator is not MulTo:
            continue
        gate, up = node.inputs["input0"], node.inputs["input1"]
        silu = makers.get(gate)
        if silu is None or silu.operator is not Silu or readers[gate] != 1:
            continue
        if readers[silu.inputs["input"]] != 1:  # another operator may change it in place before the MulTo
            continue
        inputs = {"gate": silu.inputs["input"], "up": up}
        replaced[silu] = None
        replaced[node] = Node(SiluMultiply, inputs, {"output": node.outputs["input0"]}, {}, node.call)
    return replace_nodes(nodes, replaced)


def _join_rotations(nodes: list[Node]) -> list[Node]:
    readers, makers = readers_of(nodes), makers_of(nodes)
    replaced: dict[Node, Node | None] = {}
    for node in nodes:
        if node.operator is not FusedAttention or "curk" not in node.inputs:
            continue
        turns = [makers.get(node.inputs[name]) for name in ("q", "curk")]
        if any(turn is None or turn.operator is not LlamaRotatePosition2D for turn in turns):
            continue
        query, key = (turn for turn in turns if turn is not None)
        tables = [[turn.inputs[name] for name in ("positionIds", "sin", "cos")] for turn in (query, key)]
        rotated = [node.inputs["q"], node.inputs["curk"]]
        # What is rotated in place must be read by nobody else, before or after its rotation.
        sources = [query.inputs["input"], key.inputs["input"]]
        others = (node.inputs["curv"], node.inputs["original"])
        if query is key or tables[0] != tables[1] or any(readers[value] != 1 for value in (*rotated, *sources)):
            continue
        if any(value in others for value in (*rotated, *sources)):
            continue
        replaced[query] = replaced[key] = None
        replaced[node] = Node(
            RotaryAttention,
            {**node.inputs, **query.inputs, "q": sources[0], "curk": sources[1]},
            node.outputs,
            {**node.attributes, "qDim": query.attributes["rotaryDim"], "kDim": key.attributes["rotaryDim"]},
            node.call,
        )
        del replaced[node].inputs["input"]  # type: ignore[union-attr]  # a Node, three lines above
    return replace_nodes(nodes, replaced)


def _join_residual(nodes: list[Node]) -> list[Node]:
    """AddTo with the first RMSNorm that reads its sum; nodes between them do not write what either reads."""
    replaced: dict[Node, Node | None] = {}
    norms: dict[Value, Node] = {}
    for node in nodes:
        if node.operator is RMSNorm:
            norms.setdefault(node.inputs["input"], node)
    for node in nodes:
        norm = norms.get(node.outputs["input0"]) if node.operator is AddTo else None
        if norm is None:
            continue
        replaced[norm] = None
        replaced[node] = Node(
            AddRMSNorm,
            {**{name: value for name, value in norm.inputs.items() if name == "weight"}, **node.inputs},
            {**node.outputs, "output": norm.outputs["output"]},
            {**node.attributes, **norm.attributes},
            norm.call,
        )
    return replace_nodes(nodes, replaced)


def replace_nodes(nodes: list[Node], replaced: dict[Node, Node | None]) -> list[Node]:
    """The nodes with some replaced, or left out where the replacement is None."""
    kept = (replaced.get(node, node) for node in nodes)
    return [node for node in kept if node is not None]
