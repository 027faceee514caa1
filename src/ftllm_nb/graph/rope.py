"""The tables behind the inputs `sin` and `cos`, float32 [positions, angles], as transformers computes them.

A table has a name, a base, the part of a head that turns, a rope type, and what sin and cos are multiplied by. A config
describes one for all layers (`rope_scaling`, or a flat `rope_parameters`), or one for each kind of layer: objects in
`rope_parameters` by the names that `layer_types` has. A graph reads the one as `data["sin"]` and `data["cos"]`, those
of a kind as `data["sin.sliding_attention"]`; tables that differ are no one table.

A token's rotation depends on its position alone, never on what is computed beside it; what that means for types which
depend on the length, `dynamic` and `longrope`, is said in their files.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph import rope_types
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.graph.nearest import join_quoted
from ftllm_nb.graph.position_tables import PositionTables
from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import sin_and_cos

_ALIASES = {"su": "longrope"}
"""Earlier names of types."""


@dataclass(frozen=True)
class RopeSettings:
    """One table. `name`: the kind of layer that it is for, "" for all; `notes`: sentences worth saying once."""

    name: str
    type: RopeType
    notes: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """How many numbers of a head turn: twice the angles."""
        return self.type.dim

    @property
    def base(self) -> float:
        """θ."""
        return self.type.base

    @property
    def angles(self) -> int:
        """Columns of the tables."""
        return (self.dim + 1) // 2

    def tables(self, positions: int) -> tuple[Floats, Floats]:
        """sin and cos of the first `positions` positions, float32 [positions, angles] each. Raises MemoryError."""
        tables = RopeTables(self, positions)
        tables.fill(positions)
        return tables.sin, tables.cos


class RopeTables(PositionTables):
    """The inputs `sin` and `cos`: float32 [positions, angles] each."""

    def __init__(self, settings: RopeSettings, positions: int) -> None:
        self._type = settings.type
        super().__init__(positions, settings.angles, 2, self._rows)
        self.sin, self.cos = self.arrays

    def _rows(self, rows: slice) -> tuple[Floats, Floats]:
        return sin_and_cos(
            np.arange(rows.start, rows.stop, dtype=np.float32), self._type.frequencies(rows),
            self._type.attention_factor,
        )  # fmt: skip


def rope_settings(config: Mapping[str, Any], positions: int) -> RopeSettings:
    """The one table by which all layers turn. `positions`: the longest sequence that will be computed.

    Raises `GraphError` for types that are unknown, for numbers that are missing or no numbers, and where kinds of
    layers have tables that differ.
    """
    tables = named_rope_settings(config, positions)
    first, *others = tables.values()
    for other in others:
        if other.type != first.type:
            raise GraphError(
                f'config.json\'s rope_parameters give "{first.name}" and "{other.name}" layers rotations that differ, '
                'and the graph reads one for all; data["sin.KIND"] and data["cos.KIND"] are those of a kind.'
            )
    return first


class UnknownTable(GraphError):
    """A table of rotations that the config does not describe; the text is the second half of a sentence."""


def table_settings(config: Mapping[str, Any], positions: int, name: str) -> RopeSettings:
    """The table of this name, which is a kind of layer, or "" for the one of all. Raises as `rope_settings`, and
    `UnknownTable`."""
    if not name:
        return rope_settings(config, positions)
    tables = named_rope_settings(config, positions)
    if name not in tables:
        known = f"it has tables for {join_quoted(tables)}" if "" not in tables else "it has one table for all layers"
        raise UnknownTable(f"config.json describes no such rotation; {known}.")
    return tables[name]


def named_rope_settings(config: Mapping[str, Any], positions: int) -> dict[str, RopeSettings]:
    """The tables by the kind of layer that turns by them; one for "" where all do. Raises as `rope_settings`."""
    name, section = _section(config)
    kinds = [kind for kind, entries in section.items() if isinstance(entries, Mapping)]
    if not kinds:
        return {"": _table("", name, section, config, positions)}
    layers = layer_kinds(config)
    unknown = next((kind for kind in kinds if layers is None and kind not in (FULL, SLIDING)), None)
    if unknown is not None:
        raise GraphError(f"config.json's {name} has an object {shown(unknown)}, which is the name of no kind of layer.")
    tables = {}
    # Recurrent layers do not turn.
    turning = [kind for kind in layers or () if kind in section or kind in (FULL, SLIDING)]
    for kind in dict.fromkeys(turning or layers or kinds):
        entries = section.get(kind)
        if not isinstance(entries, Mapping):
            raise GraphError(
                f"config.json's layer_types has {shown(kind)} layers, for which its {name} has no table; it has "
                f"{join_quoted(kinds)}."
            )
        tables[kind] = _table(kind, name, entries, config, positions)
    return tables


def _section(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name and the entries of what describes rotation, {} where nothing does."""
    for name in ("rope_scaling", "rope_parameters"):
        section = config.get(name)
        if section is not None and not isinstance(section, Mapping):
            raise GraphError(f"config.json's {name} must be an object or null, but it is {shown(section)}.")
        if section:
            return name, section
    return "rope_scaling", {}


def _table(
    kind: str, where: str, section: Mapping[str, Any], config: Mapping[str, Any], positions: int
) -> RopeSettings:
    found = next((section[key] for key in ("rope_type", "type") if section.get(key) is not None), "default")
    known = sorted(module.name for module in pkgutil.iter_modules(rope_types.__path__))
    rope_type = _ALIASES.get(found, found) if isinstance(found, str) else None
    if rope_type is not None and config.get("rope_factor") is not None:
        rope_type = "linear" if rope_type == "default" else rope_type
        section = {"factor": config["rope_factor"], **section} if rope_type in ("linear", "dynamic") else section
    if rope_type not in known:
        raise GraphError(
            f"config.json has rope_type {shown(found)}; supported are {join_quoted(known)}, and any other can be an "
            "operator of a Python file that is given with --custom FILE."
        )
    found_class: type[RopeType] = importlib.import_module(f"{rope_types.__name__}.{rope_type}").TYPE
    entries = RopeEntries(section, config, rope_type, positions)
    dim = entries.head_dim if found_class.TURNS_WHOLE_HEADS else entries.dim
    if dim < found_class.SMALLEST_DIM or dim % 2:
        why = "which is too few" if dim < found_class.SMALLEST_DIM else "but they turn in pairs"
        raise GraphError(
            f"config.json rotates {dim} numbers of each head, {why}: check partial_rotary_factor and head_dim."
        )
    made = found_class.read(entries)
    _check_range(made, positions)
    unread = entries.unread()
    notes = [made.note] if made.note is not None else []
    if unread:
        names = ", ".join(unread)
        notes.append(f'config.json\'s {where} has entries that rope_type "{rope_type}" does not use: {names}.')
    return RopeSettings(kind, made, tuple(notes))


def _check_range(rope_type: RopeType, positions: int) -> None:
    """Raise `GraphError` where an angle would be no finite float32: sin and cos of it would be no numbers."""
    try:
        with np.errstate(all="ignore"):
            frequencies = rope_type.frequencies(slice(positions - 1, positions))
            is_finite = bool(np.isfinite(frequencies * np.float32(positions)).all())
    except MemoryError:  # who makes the tables says so
        return
    if not is_finite:
        raise GraphError(
            f"config.json's rope entries make angles that are too large at position {positions - 1}: check rope_theta "
            "and what scales it."
        )
