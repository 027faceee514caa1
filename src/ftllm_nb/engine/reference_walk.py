"""Evaluating a graph's nodes by their NumPy references: what the reference executor does, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.host_cache import in_8_bits, spread_rows
from ftllm_nb.engine.host_int4 import from_4_bits, in_4_bits
from ftllm_nb.engine.step_states import keep_states
from ftllm_nb.errors import EngineError
from ftllm_nb.graph.inputs import rope_table
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.rope import RopeTables
from ftllm_nb.hadamard import hadamard, hadamard_size
from ftllm_nb.ops.base import Kind, SequenceCache, StepContext

Floats = NDArray[np.float32]

_MARKER = np.empty(0, np.float32)


class ReferenceCache:
    """One sequence's keys or values in one layer: [length, heads, dim], rounded to the cache's type. `spreads`: whether
    rows of int8 are multiplied by Hadamard's matrix before they are rounded, as keys are."""

    def __init__(self, heads: int, dim: int, dtype: str, spreads: bool = False) -> None:
        self.dtype = dtype
        self.spreads = spreads
        self.length = 0
        self.rows = np.empty((64, heads, dim), np.float32)

    def append(self, rows: Floats) -> Floats:
        """See `SequenceCache`."""
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit the type is an infinity
            if self.dtype == "int8":
                numbers, scales = in_8_bits(spread_rows(rows) if self.spreads else rows)
                rounded = numbers * scales[..., None]
                if self.spreads:
                    rounded = hadamard(rounded) / np.float32(hadamard_size(rounded.shape[-1]))
                return self.extend(rounded[..., : rows.shape[-1]])
            if self.dtype == "int4":
                return self.extend(from_4_bits(*in_4_bits(rows), rows.shape[-1]))
            return self.extend(rows.astype(self.dtype))

    def read(self) -> Floats:
        """See `SequenceCache`."""
        return self.rows[: self.length]

    def extend(self, rows: NDArray[np.floating[Any]]) -> Floats:
        """Append rows that have the cache's precision already; all rows."""
        length = self.length + len(rows)
        if length > len(self.rows):
            larger = np.empty((2 * length, *self.rows.shape[1:]), np.float32)
            larger[: self.length] = self.rows[: self.length]
            self.rows = larger
        self.rows[self.length : length] = rows
        self.length = length
        return self.read()


def evaluate_node(
    node: Node,
    context: StepContext,
    values: dict[Value, Any],
    caches: list[dict[str, ReferenceCache]],
    states: Sequence[dict[str, NDArray[np.floating[Any]]]],
) -> None:
    """Add to `values` what the node writes. It reads those, and for each sequence its caches and states, by name."""
    arguments = {
        name: _argument(node, name, node.operator.parameter(name).kind, caches, states, values) for name in node.inputs
    }
    results = node.evaluate(context, arguments)
    keep_states(node, arguments, states)
    values.update((value, results[name]) for name, value in node.outputs.items())


def _argument(
    node: Node,
    name: str,
    kind: Kind,
    caches: list[dict[str, ReferenceCache]],
    states: Sequence[dict[str, NDArray[np.floating[Any]]]],
    values: dict[Value, Any],
) -> Any:
    value = node.inputs[name]
    if kind is Kind.STATE:
        return [each[value.name] for each in states]
    if kind is not Kind.CACHE:
        return values[value]
    of_sequences: list[SequenceCache] = [each[value.name] for each in caches]
    return of_sequences


def graph_inputs(
    graph: CheckedGraph,
    tables: dict[str, RopeTables],
    token_ids: Sequence[NDArray[np.int32]],
    positions: Sequence[NDArray[np.int64]],
) -> dict[Value, Any]:
    """The graph's inputs that are no caches, as arrays: of each sequence its new tokens and their positions."""
    arrays: dict[str, NDArray[Any]] = {
        "inputIds": np.concatenate(token_ids).astype(np.int32)[None],
        "positionIds": np.concatenate(positions).astype(np.int32)[None],
        "seqLens": np.array([len(each) for each in token_ids], np.int32),
        "attentionMask": _MARKER,
        "atype": _MARKER,
    }
    for name, table in tables.items():
        table.fill(1 + max(int(each[-1]) for each in positions))
        suffix = f".{name}" if name else ""
        arrays[f"sin{suffix}"], arrays[f"cos{suffix}"] = table.sin, table.cos
    return {value: arrays[name] for name, value in graph.inputs.items() if name in arrays}


def rope_tables(graph: CheckedGraph) -> dict[str, RopeTables]:
    """The tables of sin and cos, by name, filled as far as nodes read that say nothing of it."""
    try:
        tables = {name: RopeTables(settings, graph.max_positions) for name, settings in graph.rope.items()}
    except MemoryError:
        raise EngineError(
            f"no memory for sin and cos of {graph.max_positions} positions; lower max_position_embeddings in "
            "config.json."
        ) from None
    for node in graph.nodes:
        for name, value in node.inputs.items():
            table = rope_table(value.name) if value.kind == "input" else None
            if table is not None and not node.operator.parameter(name).by_position:  # who knows which rows are read
                tables[table[1]].fill(graph.max_positions)
    return tables


def cached_values(graph: CheckedGraph) -> list[Value]:
    """Keys and values that layers store."""
    return [value for layer in graph.caches.values() for value in layer.stored]
