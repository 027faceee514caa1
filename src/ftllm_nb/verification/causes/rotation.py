"""A rotation of other pairs, another part of a head, by another table or base; or none where one is due."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.references import Argument, DataReference
from ftllm_nb.verification.causes.numbers import flat_config
from ftllm_nb.verification.trial import Change, Ground, one_call

RANK = 30
ROTATIONS = ("LlamaRotatePosition2D", "LlamaRotatePosition2DPart", "NearlyRotatePosition2D")
_OF_OWN_NUMBERS = ("RopeEncoding", "Llama3RopeEncoding", "YarnRopeEncoding")
_TEXT = {
    "LlamaRotatePosition2D": "the two halves of a head turn",
    "LlamaRotatePosition2DPart": "the two halves of the first {dim} features of a head turn",
    "NearlyRotatePosition2D": "neighbours turn",
}
_BASES = (1e4, 5e5, 1e6, 1e5, 1e7, 8e6)


def changes(ground: Ground) -> Iterator[Change]:
    """Other rotations of what is turned, then rotations of what is not."""
    turning = [call for call in ground.suspects if call.operator.name in (*ROTATIONS, *_OF_OWN_NUMBERS)]
    for call in turning:
        yield from _otherwise(ground, call)
    if turning:
        yield from _by_other_bases(ground, turning[0])
    for call in ground.suspects:
        if call.operator.name == "FusedAttention":
            yield from _not_turned(ground, call)


def _otherwise(ground: Ground, call: Call) -> Iterator[Change]:
    own = (call.operator.name, call.arguments.get("sin"))
    for table in _tables(ground):
        for name, dim in _kinds(ground, call):
            rotation = _rotation(call, call.arguments["input"], name, dim, table)
            sin, cos = (rotation.arguments[name] for name in ("sin", "cos"))
            assert isinstance(sin, DataReference) and isinstance(cos, DataReference)
            is_same = call.arguments.get("sin") == sin
            other = "" if is_same else f', by data["{sin.name}"] and data["{cos.name}"]'
            if (rotation.operator.name, rotation.arguments.get("sin")) == own and rotation.arguments == call.arguments:
                continue
            yield one_call(
                f"rotation: {name}, where {_TEXT[name].format(dim=dim)}{other}, instead of {call.operator.name}",
                call,
                lambda each, name=name, dim=dim, table=table: [  # type: ignore[misc]
                    _rotation(each, each.arguments["input"], name, dim, table)
                ],
            )


def _by_other_bases(ground: Ground, call: Call) -> Iterator[Change]:
    found = {number: entry for entry, number in flat_config(ground.built.config).items() if "theta" in entry
             or "base" in entry}  # fmt: skip
    for base in (*found, *_BASES):
        where = f", config.json's {found[base]}," if base in found else ""
        yield Change(
            f"rotation: another base: {base:g}{where} makes them equal", call, config=_with_base(ground, base)
        )


def _with_base(ground: Ground, base: float) -> dict[str, Any]:
    config = copy.deepcopy(dict(dict.items(ground.built.config)))
    changed: dict[str, Any] = {"rope_theta": base}
    if "rope_base" in config:
        changed["rope_base"] = base
    for name in ("rope_parameters", "rope_scaling"):
        section = config.get(name)
        if isinstance(section, dict) and section:
            for entries in [each for each in section.values() if isinstance(each, dict)] or [section]:
                entries["rope_theta"] = base
            changed[name] = section
    return changed


def _not_turned(ground: Ground, call: Call) -> Iterator[Change]:
    positions = DataReference("positionIds")
    for names in (("q",), ("curk",), ("q", "curk")):
        given = [call.arguments[name] for name in names]
        if any(each is None for each in given):
            continue
        node = ground.node_of(call)
        assert node is not None
        head = node.inputs["q"].type.size(-1)
        for table in _tables(ground):
            for name, dim in _kinds(ground, call, head):
                shown = " and ".join(f'data["{each.name}"]' for each in given if isinstance(each, DataReference))
                yield one_call(
                    f"{shown}: not rotated before FusedAttention; {name} makes them equal",
                    call,
                    lambda each, given=given, name=name, dim=dim, table=table: [  # type: ignore[misc]
                        *(_rotation(each, source, name, dim, table, positions) for source in given), each
                    ],
                )


def _tables(ground: Ground) -> list[str]:
    """The names of tables, the one of all layers first."""
    section = ground.built.config.get("rope_parameters") or ground.built.config.get("rope_scaling") or {}
    kinds = [name for name, each in section.items() if isinstance(each, Mapping)] if isinstance(section, dict) else []
    return kinds or [""]


def _kinds(ground: Ground, call: Call, head: int | None = None) -> Iterator[tuple[str, int]]:
    if head is None:
        node = ground.node_of(call)
        if node is None:
            return
        head = node.inputs["input"].type.size(-1)
    yield "LlamaRotatePosition2D", head
    yield "NearlyRotatePosition2D", head
    for dim in dict.fromkeys([*(each.dim for each in ground.graph.rope.values()), head // 2, head // 4]):
        if 0 < dim < head and dim % 2 == 0:
            yield "LlamaRotatePosition2DPart", dim
            yield "NearlyRotatePosition2D", dim


def _rotation(
    call: Call, source: Argument, name: str, dim: int, table: str, positions: Argument = None
) -> Call:
    operator, suffix = public_operators()[name], f".{table}" if table else ""
    arguments: dict[str, Argument] = {
        "input": source, "positionIds": positions or call.arguments["positionIds"],
        "sin": DataReference(f"sin{suffix}"), "cos": DataReference(f"cos{suffix}"), "rotaryDim": dim,
    }  # fmt: skip
    if name == "LlamaRotatePosition2DPart":
        arguments["part"] = dim
    if name == "NearlyRotatePosition2D":
        arguments["positionStride"] = 1
    return dataclasses.replace(call, operator=operator, arguments=arguments)
