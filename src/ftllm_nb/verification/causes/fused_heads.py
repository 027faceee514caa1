"""q, k and v of one matrix, cut as three blocks where each head has its own three side by side, or the other way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
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
    number: int
    size: int

    @property
    def features(self) -> int:
        return self.number * self.size


def changes(ground: Ground) -> Iterator[Change]:
    """What attention reads, cut in the other order: the features that a matrix made, or the rows of the matrix."""
    site = ground.parting.site
    if site.node.operator.name != "FusedAttention" or site.role == "output" or site.value.type.rank != 4:
        return
    heads = _Heads(site.value.type.size(2), site.value.type.size(3))
    readers = _first_readers(ground, heads)
    nodes = ground.graph.nodes
    end = nodes.index(site.node)
    for node in reversed(nodes[max(0, end - _MOST_BEFORE) : end]):
        name = next((value.name for value, reader in readers.items() if reader is node), None)
        if name is not None:
            alike = [
                reader.call
                for value, reader in readers.items()
                if value.name == name and same_line(reader.call, node.call)
            ]
            yield from _of_features(node.call, name, alike, heads)
        if any(_is_block(ground, given, heads) for given in node.call.arguments.values()):
            yield _of_rows(ground, node.call, heads)
            return


def _first_readers(ground: Ground, heads: _Heads) -> dict[Value, Node]:
    """Of data that holds all three of each token, side by side."""
    found: dict[Value, Node] = {}
    for node in ground.graph.nodes:
        for value in node.inputs.values():
            if value.kind == "data" and value.type.rank == 3 and value.type.size(-1) == 3 * heads.features:
                found.setdefault(value, node)
    return found


def _of_features(call: Call, name: str, alike: list[Call], heads: _Heads) -> Iterator[Change]:
    cut = (
        f'in data["{name}"] each head has its own q, k and v side by side, and they are cut as three blocks: '
        f"ExpandHead with {3 * heads.size}, 3 · head_dim, before they are cut makes them equal"
    )
    yield Change(cut, call, {each.index: _moved(each, name, (heads.number, 3, heads.size)) for each in alike})
    blocks = (
        f'in data["{name}"] q, k and v of all heads are three blocks, of {heads.features} each, and they are cut from '
        "each head: cutting before ExpandHead makes them equal"
    )
    yield Change(blocks, call, {each.index: _moved(each, name, (3, heads.number, heads.size)) for each in alike})


def _moved(call: Call, name: str, shape: tuple[int, ...]) -> list[Call]:
    """The call after data of that shape had its first two axes exchanged."""
    data = DataReference(name)
    return [
        made(call, "Reshape", input=data, shape=shape),
        made(call, "Permute", input=data, axis=(0, 1, 3, 2, 4), output=data),
        made(call, "Reshape", input=data, shape=(-1,)),
        call,
    ]


def _is_block(ground: Ground, given: Argument, heads: _Heads) -> bool:
    """Whether it is a third of a matrix or of a bias."""
    if not isinstance(given, WeightReference) or not given.steps or given.name not in ground.tensors:
        return False
    rows = given.steps[-1]
    is_third = isinstance(rows, Rows) and rows.end - rows.start == heads.features and not rows.start % heads.features
    return is_third and len(given.steps) == 1 and ground.tensors[given.name].shape[0] == 3 * heads.features


def _of_rows(ground: Ground, call: Call, heads: _Heads) -> Change:
    """In all calls and layers: the three belong together."""
    edits = {}
    for each in ground.calls:
        cut = {
            name: _own_rows(given, heads, len(ground.tensors[given.name].shape))
            for name, given in each.arguments.items()
            if isinstance(given, WeightReference) and _is_block(ground, given, heads)
        }
        if cut:
            edits[each.index] = [dataclasses.replace(each, arguments={**each.arguments, **cut})]
    (name, *_) = (
        given.name for given in call.arguments.values()
        if isinstance(given, WeightReference) and _is_block(ground, given, heads)
    )  # fmt: skip
    return Change(
        f'in weight["{name}"] each head has its own rows of q, k and v side by side, and they are read as three '
        f"blocks: a Linear of the whole matrix and ExpandHead with {3 * heads.size}, 3 · head_dim, before they are cut "
        "make them equal",
        call,
        edits,
    )


def _own_rows(given: WeightReference, heads: _Heads, rank: int) -> WeightReference:
    rows = given.steps[-1]
    assert isinstance(rows, Rows)
    start = rows.start // heads.number
    rest = (-1,) * (rank - 1)
    return WeightReference(given.name, (
        Reshaped((heads.number, 3 * heads.size, *rest)),
        Part(1, start, start + heads.size),
        Reshaped((heads.features, *rest)),
    ))  # fmt: skip
