"""Where activations lie: buffers planned by liveness, so that one arena serves the whole graph.

Each value of a graph has rows of float32, one a token, padded to a multiple of 16 features. A value that an
operator changes in place keeps its buffer; outputs that share rows are column ranges of one buffer. Data that has no
row for each token has no place here: only host steps make and read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftllm_nb.graph.ir import CheckedGraph, Node, Value, rows_symbol
from ftllm_nb.ops.base import Kind
from ftllm_nb.ops.lowering import features

_ALIGNMENT = 4096
_LINE_FLOATS = 16


@dataclass(eq=False)
class Buffer:
    """`row_floats` floats a row. `offset`: bytes from the arena's start; `size`: bytes."""

    row_floats: int
    size: int
    last_use: int
    offset: int = 0


@dataclass(frozen=True)
class Span:
    """A value's columns in a buffer, counted in floats from the start of each row."""

    buffer: Buffer
    column: int


@dataclass(frozen=True)
class StoragePlan:
    """The span of each activation, and the bytes of the arena."""

    spans: dict[Value, Span]
    size: int


def plan_storage(graph: CheckedGraph, max_tokens: int) -> StoragePlan:
    """Buffers for every value that a node writes, for steps of at most `max_tokens` tokens."""
    spans = _assign_spans(graph, max_tokens)
    live: list[Buffer] = []
    size = 0
    for index, node in enumerate(graph.nodes):
        for value in node.outputs.values():
            if value not in spans:
                continue
            buffer = spans[value].buffer
            if buffer not in live and _starts_here(node, value):
                buffer.offset = _first_gap(live, buffer.size)
                size = max(size, buffer.offset + buffer.size)
                live.append(buffer)
        live = [buffer for buffer in live if buffer.last_use > index]
    return StoragePlan(spans, size)


def _assign_spans(graph: CheckedGraph, max_tokens: int) -> dict[Value, Span]:
    """A span for each value, and each buffer's last use."""
    spans: dict[Value, Span] = {}
    for index, node in enumerate(graph.nodes):
        for value in node.inputs.values():
            if value in spans:
                spans[value].buffer.last_use = index
        placed = [value for value in node.outputs.values() if rows_symbol(value) is not None]
        new = [value for value in placed if _starts_here(node, value)]
        for value in placed:
            if value not in new:
                spans[value] = spans[node.inputs[_parameter(node, value)]]
        groups = [new] if node.operator.outputs_share_rows else [[value] for value in new]
        for group in groups:
            widths = [_padded(features(value)) for value in group]
            row_floats = _spread(sum(widths))
            buffer = Buffer(row_floats, _aligned(4 * row_floats * max_tokens), index)
            for number, value in enumerate(group):
                spans[value] = Span(buffer, sum(widths[:number]))
    if graph.logits in spans:
        spans[graph.logits].buffer.last_use = len(graph.nodes)
    return spans


def _starts_here(node: Node, value: Value) -> bool:
    """Whether the value needs memory of its own: it is no value that the node changes in place, or has other sizes."""
    name = _parameter(node, value)
    if node.operator.parameter(name).kind is not Kind.INPLACE:
        return True
    before = node.inputs[name]
    return rows_symbol(before) is not rows_symbol(value) or features(before) != features(value)


def _parameter(node: Node, value: Value) -> str:
    return next(name for name, written in node.outputs.items() if written is value)


def _first_gap(live: list[Buffer], size: int) -> int:
    """The lowest offset at which `size` bytes are free."""
    offset = 0
    for buffer in sorted(live, key=lambda buffer: buffer.offset):
        if buffer.offset - offset >= size:
            break
        offset = max(offset, buffer.offset + buffer.size)
    return offset


def _padded(size: int) -> int:
    return -(-size // _LINE_FLOATS) * _LINE_FLOATS


def _spread(size: int) -> int:
    """An odd number of cache lines: the same columns of many rows then lie in all sets of a cache, where rows of 2048
    floats would share one."""
    return size if size // _LINE_FLOATS % 2 else size + _LINE_FLOATS


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
