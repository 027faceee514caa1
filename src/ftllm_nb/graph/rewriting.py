"""Finding a pattern of operators in a graph and putting one operator in its place. Knows no operator by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ftllm_nb.graph.ir import Node, Value
from ftllm_nb.graph.types import ShapeError
from ftllm_nb.ops.base import Operator
from ftllm_nb.ops.fusion import Part, Pattern


def readers_of(nodes: Iterable[Node]) -> dict[Value, list[Node]]:
    """The nodes that read each value, in order; one that reads it as two parameters is there twice."""
    readers: dict[Value, list[Node]] = {}
    for node in nodes:
        for value in node.inputs.values():
            readers.setdefault(value, []).append(node)
    return readers


def makers_of(nodes: Iterable[Node]) -> dict[Value, Node]:
    """The node that writes each value."""
    return {value: node for node in nodes for value in node.outputs.values()}


def replace_nodes(nodes: list[Node], replaced: dict[Node, Node | None]) -> list[Node]:
    """The nodes with some replaced, or left out where the replacement is None."""
    kept = (replaced.get(node, node) for node in nodes)
    return [node for node in kept if node is not None]


def rewrite(nodes: list[Node], logits: Value, operator: type[Operator], pattern: Pattern) -> list[Node]:
    """The nodes, with `operator` for each place where its pattern is found, from the first to the last."""
    return _Rewriter(nodes, logits, operator, pattern).run()


@dataclass(frozen=True)
class _Match:
    """The nodes of a pattern's parts, at whose place the fused one is to be first, and what the pattern's names mean:
    None is a weight or an input that a node lacks."""

    nodes: tuple[Node, ...]
    values: dict[str, Value | None]
    numbers: dict[str, int | float]


class _Rewriter:
    def __init__(self, nodes: list[Node], logits: Value, operator: type[Operator], pattern: Pattern) -> None:
        self.slots: list[Node | None] = list(nodes)
        self.logits = logits
        self.operator = operator
        self.pattern = pattern
        self.readers, self.makers = readers_of(nodes), makers_of(nodes)
        self.index = {node: number for number, node in enumerate(nodes)}

    def run(self) -> list[Node]:
        """Replace what is found."""
        root = self.pattern.parts[self.pattern.at]
        for node in list(self.index):
            if node not in self.index:
                continue
            for match in self._matches(root, node):
                if self._replace(match):
                    break
        return [node for node in self.slots if node is not None]

    def _matches(self, root: Part, node: Node) -> Iterator[_Match]:
        """All ways to bind the pattern's parts, the root's to this node."""
        bound = _bound(_Match((), {}, {}), root, node)
        others = [part for part in self.pattern.parts if part is not root]
        return iter(()) if bound is None else self._extended(bound, others)

    def _extended(self, match: _Match, parts: list[Part]) -> Iterator[_Match]:
        if not parts:
            yield match
            return
        part, candidates = self._joined(match, parts)
        others = [each for each in parts if each is not part]
        for node in candidates:
            bound = None if node in match.nodes else _bound(match, part, node)
            if bound is not None:
                yield from self._extended(bound, others)

    def _joined(self, match: _Match, parts: list[Part]) -> tuple[Part, list[Node]]:
        """A part that writes or reads a value that is known, and the nodes that may be it."""
        for part in parts:
            for _, name in part.written():
                if name in match.values:
                    value = match.values[name]
                    return part, [self.makers[value]] if value is not None and value in self.makers else []
        for part in parts:
            for _, name in part.read():
                value = match.values.get(name)
                if value is not None:
                    return part, list(dict.fromkeys(self.readers.get(value, ())))
        raise TypeError(f"the pattern of {self.operator.name} has a part that no value joins to the others")

    def _replace(self, match: _Match) -> bool:
        """Put the fused operator in the match's place; False where that would change what anything reads."""
        fused = self._fused(match)
        if not _fits(fused):
            return False
        kept = set(fused.outputs.values())
        gone = {value for node in match.nodes for value in node.outputs.values()} - kept
        if self.logits in gone or gone & set(fused.inputs.values()):
            return False
        if any(reader not in match.nodes for value in gone for reader in self.readers.get(value, ())):
            return False
        places = [self.index[node] for node in match.nodes]
        root = self.index[match.nodes[0]]
        span = range(min(places), max(places) + 1)
        after = {at: fused if at == root else None if at in places else self.slots[at] for at in span}
        if not _reads_are_in_order([node for node in after.values() if node is not None]):
            return False
        for at, node in after.items():
            self.slots[at] = node
        for node in match.nodes:
            del self.index[node]
            for value in node.inputs.values():
                self.readers[value].remove(node)
        self.index[fused] = root
        for value in fused.inputs.values():
            self.readers[value].append(fused)
        self.makers |= dict.fromkeys(fused.outputs.values(), fused)
        return True

    def _fused(self, match: _Match) -> Node:
        pattern, parameters = self.pattern, self.operator.parameters
        read = {each.name: match.values.get(each.name) for each in parameters if each.is_read}
        inputs = {name: value for name, value in read.items() if value is not None}
        written = {each.name: match.values[pattern.writes.get(each.name, each.name)]
                   for each in parameters if each.is_written}  # fmt: skip
        outputs = {name: value for name, value in written.items() if value is not None}
        numbers = {each.name: match.numbers[each.name] for each in parameters if each.is_number}
        return Node(self.operator, inputs, outputs, numbers, match.nodes[0].call)


def _fits(fused: Node) -> bool:
    """Whether the fused operator's shape rule, where it has one, gives the types that are there."""
    operator = fused.operator
    if not hasattr(operator, "infer"):
        return True
    read = [parameter.name for parameter in operator.parameters if parameter.is_read]
    types = {name: fused.inputs[name].type if name in fused.inputs else None for name in read}
    try:
        inferred = operator.infer_outputs({**types, **fused.attributes})
    except ShapeError:
        return False
    return inferred == {name: value.type for name, value in fused.outputs.items()}


def _bound(match: _Match, part: Part, node: Node) -> _Match | None:
    """The match with one more part; None where the node is not it."""
    if node.operator is not part.operator:
        return None
    values, numbers = dict(match.values), dict(match.numbers)
    found = [(name, node.inputs.get(parameter)) for parameter, name in part.read()]
    found += [(name, node.outputs.get(parameter)) for parameter, name in part.written()]
    if any(values.setdefault(name, value) is not value for name, value in found):
        return None
    if any(numbers.setdefault(name, node.attributes[parameter]) != node.attributes[parameter]
           for parameter, name in part.constants()):  # fmt: skip
        return None
    return _Match((*match.nodes, node), values, numbers)


def _reads_are_in_order(nodes: list[Node]) -> bool:
    """Whether neighbours read values after they were made, and before they are changed in place."""
    later = {value for node in nodes for value in node.outputs.values()}
    changed: set[Value] = set()
    for node in nodes:
        if any(value in later or value in changed for value in node.inputs.values()):
            return False
        changed |= {node.inputs[name] for name in node.outputs if name in node.inputs}
        later -= set(node.outputs.values())
    return True
