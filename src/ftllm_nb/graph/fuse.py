"""Fusion: rewrite a checked graph so that fewer passes over memory and fewer barriers are needed.

What becomes what is said by the operators that fusion makes, in their own files (ops/fusion.py): no operator is named
here. Groups and chains are made first. Patterns follow: those made of a pattern's operator after that one, else the
larger before the smaller, else by the operator's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable

from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Node, Value
from ftllm_nb.graph.operators import all_operators
from ftllm_nb.graph.rewriting import readers_of, rewrite
from ftllm_nb.ops.base import Kind, Operator
from ftllm_nb.ops.fusion import Chain, Group, Pattern


def fuse(graph: CheckedGraph, format_of: FormatOf) -> CheckedGraph:
    """The same computation in fewer operators."""
    return fuse_into(graph, format_of, all_operators().values())


def fuse_into(graph: CheckedGraph, format_of: FormatOf, operators: Iterable[type[Operator]]) -> CheckedGraph:
    """The same computation with these operators where they can stand for several others."""
    nodes, operators = graph.nodes, list(operators)
    for operator in operators:
        for group in operator.fuses:
            if isinstance(group, Group):
                nodes = _group(nodes, operator, group, format_of)
            elif isinstance(group, Chain):
                nodes = _chain(nodes, graph.logits, operator, group)
    for operator, pattern in _in_order(operators):
        nodes = rewrite(nodes, graph.logits, operator, pattern)
    return dataclasses.replace(graph, nodes=nodes)


def _in_order(operators: Iterable[type[Operator]]) -> list[tuple[type[Operator], Pattern]]:
    """The patterns and what they become, in the order in which they are looked for."""

    def depth(pattern: Pattern) -> int:
        """Patterns within patterns."""
        inner = (each for part in pattern.parts for each in part.operator.fuses if isinstance(each, Pattern))
        return 1 + max(map(depth, inner), default=0)

    found = [(operator, each) for operator in operators for each in operator.fuses if isinstance(each, Pattern)]
    return sorted(found, key=lambda rule: (depth(rule[1]), -len(rule[1].parts), rule[0].name))


def _group(nodes: list[Node], operator: type[Operator], group: Group, format_of: FormatOf) -> list[Node]:
    """Nodes that become one, at the place of the first: the others' outputs are ready earlier."""
    numbered = {parameter.name for parameter in operator.parameters if parameter.many}

    def key(node: Node) -> Hashable:
        shared = frozenset((name, value) for name, value in node.inputs.items() if name not in numbered)
        formats = tuple(format_of(node.inputs[name]) for name in node.products)
        return shared, frozenset(node.attributes.items()), formats

    members: dict[Hashable, list[Node]] = {}
    for node in nodes:
        if node.operator is group.operator:
            members.setdefault(key(node), []).append(node)
    fused: list[Node] = []
    for node in nodes:
        together = members[key(node)] if node.operator is group.operator else []
        if len(together) < 2:
            fused.append(node)
        elif node is together[0]:
            fused.append(_grouped(together, operator, numbered))
    return fused


def _grouped(nodes: list[Node], operator: type[Operator], numbered: set[str]) -> Node:
    inputs: dict[str, Value] = {}
    outputs: dict[str, Value] = {}
    for number, node in enumerate(nodes):
        inputs |= {f"{name}{number}" if name in numbered else name: value for name, value in node.inputs.items()}
        outputs |= {f"{name}{number}": value for name, value in node.outputs.items()}
    return Node(operator, inputs, outputs, nodes[0].attributes, nodes[0].call)


def _chain(nodes: list[Node], logits: Value, operator: type[Operator], chain: Chain) -> list[Node]:
    """Nodes that become one, at the place of the first."""
    (name,) = (parameter.name for parameter in operator.parameters if parameter.kind is Kind.INPLACE)
    lists = {parameter.name for parameter in operator.parameters if parameter.kind is Kind.INTS}
    readers = readers_of(nodes)
    chains: list[list[Node]] = []
    for node in nodes:
        if node.operator is not chain.operator:
            continue
        before, last = node.inputs[name], chains[-1][-1] if chains else None
        follows = last is not None and last.outputs[name] is before and readers[before] == [node]
        if follows and before is not logits and _numbers(node, lists) == _numbers(chains[-1][0], lists):
            chains[-1].append(node)
        else:
            chains.append([node])
    first = {members[0]: members for members in chains if len(members) > 1}
    later = {node for members in first.values() for node in members[1:]}
    return [
        _chained(first[node], operator, name, lists) if node in first else node for node in nodes if node not in later
    ]


def _numbers(node: Node, lists: set[str]) -> dict[str, int | float]:
    return {name: number for name, number in node.attributes.items() if name not in lists}


def _chained(nodes: list[Node], operator: type[Operator], name: str, lists: set[str]) -> Node:
    grouped = _grouped(nodes, operator, {parameter.name for parameter in operator.parameters if parameter.many})
    gathered = {number: tuple(node.attributes[number] for node in nodes) for number in lists}
    inputs = {**grouped.inputs, name: nodes[0].inputs[name]}
    outputs = {name: nodes[-1].outputs[name]}
    return Node(operator, inputs, outputs, {**nodes[0].attributes, **gathered}, nodes[0].call)
