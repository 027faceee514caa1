"""q, k and v of one matrix, cut as three blocks where each key head has its own side by side, or the other way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.ir import Node, Value
from ftllm_nb.graph.references import Argument, DataReference, WeightReference
from ftllm_nb.graph.weight_steps import Part, Reshaped, Rows
from ftllm_nb.verification.causes.missing import made
from ftllm_nb.verification.trial import Change, Ground, same_line

RANK = 13
_MOST_BEFORE = 30
"""Operators from where the three are cut to attention."""


class _Heads(NamedTuple):
    """`queries` heads of queries for each of `number` heads of keys, of `size` features."""

    number: int
    queries: int
    size: int

    @property
    def parts(self) -> tuple[int, int, int]:
        """Features of q, k and v of one key head."""
        return self.queries * self.size, self.size, self.size

    @property
    def features(self) -> int:
        """Of all of them."""
        return self.number * sum(self.parts)

    @property
    def own(self) -> str:
        """What a key head has."""
        return "q, k and v" if self.queries == 1 else f"{self.queries} q heads, k and v"

    @property
    def remedy(self) -> str:
        """How such heads are cut."""
        together = self.queries + 2
        rest = "" if self.queries == 1 else ", and then Flatten and ExpandHead with head_dim of q alone"
        return f"ExpandHead with {together * self.size}, {together} · head_dim, before they are cut{rest}"


def changes(ground: Ground) -> Iterator[Change]:
    """What attention reads, cut in the other order: the features that a matrix made, or the rows of the matrix."""
    attention = _attention(ground)
    if attention is None:
        return
    q, k = (attention.inputs.get(name) for name in ("q", "curk"))
    if q is None or k is None or q.type.rank != 4 or k.type.rank != 4 or q.type.size(2) % k.type.size(2):
        return
    heads = _Heads(k.type.size(2), q.type.size(2) // k.type.size(2), k.type.size(3))
    readers = _first_readers(ground, heads)
    nodes = ground.graph.nodes
    end = nodes.index(attention)
    for node in reversed(nodes[max(0, end - _MOST_BEFORE) : end]):
        name = next((value.name for value, reader in readers.items() if reader is node), None)
        if name is not None:
            alike = [
                reader.call
                for value, reader in readers.items()
                if value.name == name and same_line(reader.call, node.call)
            ]
            yield from _of_features(node.call, name, alike, heads)
        if any(_part_of(ground, given, heads) is not None for given in node.call.arguments.values()):
            yield _of_rows(ground, node.call, heads)
            return


def _attention(ground: Ground) -> Node | None:
    """The one that is parted at or before, if there is one."""
    calls = [ground.parting.site.node.call, *ground.suspects]
    return next((ground.node_of(call) for call in calls if call.operator.name == "FusedAttention"), None)


def _first_readers(ground: Ground, heads: _Heads) -> dict[Value, Node]:
    """Of data that holds all three of each token, side by side."""
    found: dict[Value, Node] = {}
    for node in ground.graph.nodes:
        for value in node.inputs.values():
            if value.kind == "data" and value.type.rank == 3 and value.type.size(-1) == heads.features:
                found.setdefault(value, node)
    return found


def _of_features(call: Call, name: str, alike: list[Call], heads: _Heads) -> Iterator[Change]:
    cut = (
        f'in data["{name}"] each {"head" if heads.queries == 1 else "key head"} has its own {heads.own} side by side, '
        f"and they are cut as three blocks: {heads.remedy} makes them equal"
    )
    yield Change(cut, call, {each.index: [*_to_blocks(each, name, heads), each] for each in alike})
    sizes = ", ".join(str(heads.number * part) for part in heads.parts)
    blocks = (
        f'in data["{name}"] q, k and v of all heads are three blocks, of {sizes} features, and they are cut from each '
        "head: cutting before ExpandHead makes them equal"
    )
    yield Change(blocks, call, {each.index: [*_to_heads(each, name, heads), each] for each in alike})


def _to_blocks(call: Call, name: str, heads: _Heads) -> list[Call]:
    """Each part of all heads together, where each head has its own parts."""
    return _rearranged(call, name, heads.parts, (heads.number, -1), (-1,))


def _to_heads(call: Call, name: str, heads: _Heads) -> list[Call]:
    """The other way round."""
    return _rearranged(call, name, [heads.number * part for part in heads.parts], (-1,), (heads.number, -1))


def _rearranged(
    call: Call, name: str, parts: Sequence[int], before: tuple[int, ...], after: tuple[int, ...]
) -> list[Call]:
    """Data in the shape `before`, cut into parts along its last axis, which are joined in the shape `after`."""
    data, joined = DataReference(name), DataReference("verify.qkv")
    calls, start = [made(call, "Reshape", input=data, shape=before)], 0
    for number, size in enumerate(parts):
        part = DataReference(f"verify.{number}")
        calls.append(made(call, "Split", input=data, axis=-1, start=start, end=start + size, output=part))
        calls.append(made(call, "Reshape", input=part, shape=after))
        start += size
    first, second, third = (DataReference(f"verify.{number}") for number in range(3))
    return [
        *calls,
        made(call, "Cat", input0=first, input1=second, axis=-1, output=joined),
        made(call, "Cat", input0=joined, input1=third, axis=-1, output=data),
        made(call, "Reshape", input=data, shape=(-1,)),
    ]


def _part_of(ground: Ground, given: Argument, heads: _Heads) -> int | None:
    """Which of the three it is of a matrix or of a bias that is read as three blocks: 0, 1 or 2."""
    if not isinstance(given, WeightReference) or len(given.steps) != 1 or given.name not in ground.tensors:
        return None
    rows = given.steps[-1]
    if not isinstance(rows, Rows) or ground.tensors[given.name].shape[0] != heads.features:
        return None
    start = 0
    for number, part in enumerate(heads.parts):
        end = start + heads.number * part
        if (rows.start, rows.end) == (start, end):
            return number
        start = end
    return None


def _of_rows(ground: Ground, call: Call, heads: _Heads) -> Change:
    """In all calls and layers: the three belong together."""
    edits = {}
    for each in ground.calls:
        cut = {
            name: _own_rows(given, part, heads, len(ground.tensors[given.name].shape))
            for name, given in each.arguments.items()
            if isinstance(given, WeightReference) and (part := _part_of(ground, given, heads)) is not None
        }
        if cut:
            edits[each.index] = [dataclasses.replace(each, arguments={**each.arguments, **cut})]
    (name, *_) = (
        given.name for given in call.arguments.values()
        if isinstance(given, WeightReference) and _part_of(ground, given, heads) is not None
    )  # fmt: skip
    return Change(
        f'in weight["{name}"] each {"head" if heads.queries == 1 else "key head"} has its own rows of {heads.own} side '
        f"by side, and they are read as three blocks: a Linear of the whole matrix and {heads.remedy} makes them equal",
        call,
        edits,
    )


def _own_rows(given: WeightReference, part: int, heads: _Heads, rank: int) -> WeightReference:
    start, rest = sum(heads.parts[:part]), (-1,) * (rank - 1)
    size = heads.parts[part]
    return WeightReference(given.name, (
        Reshaped((heads.number, sum(heads.parts), *rest)),
        Part(1, start, start + size),
        Reshaped((heads.number * size, *rest)),
    ))  # fmt: skip
