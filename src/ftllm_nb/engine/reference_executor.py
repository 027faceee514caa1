"""The executor that evaluates each operator's NumPy reference: slow, obvious, and right by definition.

It tells whether a graph or a kernel is wrong, and it is the oracle of the compiled executor's tests. Weights
and intermediates are float32, weights and caches after rounding to the type in which they would be stored.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.block_pool import BlockPool
from ftllm_nb.engine.computed_weights import with_computed_weights
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.host_cache import in_8_bits, spread_rows
from ftllm_nb.engine.kv_cache import GONE, CachedSequence, KVCache
from ftllm_nb.engine.saved_states import States
from ftllm_nb.engine.step_checks import check_steps
from ftllm_nb.engine.step_context import step_context
from ftllm_nb.engine.step_states import keep_states, new_states
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine.weight_types import AS_STORED, WeightTypes
from ftllm_nb.errors import EngineError, StepStopped
from ftllm_nb.graph.inputs import rope_table
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.rope import RopeTables
from ftllm_nb.kernels.hadamard import hadamard, hadamard_size
from ftllm_nb.ops.base import Kind, SequenceCache
from ftllm_nb.ops.reach import Reach
from ftllm_nb.quant.base import WeightFormat

Floats = NDArray[np.float32]

_MARKER = np.empty(0, np.float32)
BLOCK_POSITIONS = 16
"""Positions of a block: others than the compiled executor's, which tests that nobody counts on them."""


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


class ReferenceExecutor:
    """See `Executor`. `threads` and `pin` are accepted for the sake of the others: NumPy decides for itself.

    Integer weights stand for their float values, and activations stay float32: products differ from the compiled
    engine's by the rounding of activations.
    """

    max_step_tokens = 512

    def __init__(
        self,
        graph: CheckedGraph,
        checkpoint: Checkpoint,
        *,
        weight_types: WeightTypes = AS_STORED,
        kv_cache_dtype: str = "float16",
        threads: int = 1,
        pin: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        checkpoint = with_computed_weights(checkpoint, graph)
        self.graph = graph
        self.vocab_size = graph.vocab_size
        self.max_positions = graph.max_positions
        self.kv_cache_dtype = kv_cache_dtype
        self._stop = threading.Event()
        numbers = count(GONE + 1)
        self._block_rows: dict[int, dict[str, Floats]] = {}
        self._caches: WeakKeyDictionary[CachedSequence, dict[str, ReferenceCache]] = WeakKeyDictionary()
        self.cache = KVCache([Reach()], BLOCK_POSITIONS, BlockPool(lambda: [next(numbers)]), graph.state_shapes)
        widths = (value.type.size(1) * value.type.size(2) for value in _cached_values(graph))
        self.block_bytes = BLOCK_POSITIONS * 4 * sum(widths)
        self._weights: dict[Value, Floats] = {}
        format_of, packed = weight_types.formats(graph), set(graph.packed)
        for done, (name, value) in enumerate(graph.weights.items()):
            weight = read_float32(checkpoint, name)
            self._weights[value] = _rounded(weight, format_of(value)) if value in packed else weight
            checkpoint.release(name)
            if progress is not None:
                progress("load", done + 1, len(graph.weights))
        self._tables = _rope_tables(graph)

    def run(self, steps: list[SequenceStep]) -> Floats:
        """Run one step; see `Executor.run`."""
        check_steps(steps, self.vocab_size, self.max_positions, self.max_step_tokens)
        for step in steps:
            self.cache.reserve(step.sequence, step.sequence.length + len(step.token_ids))
        caches = [self._caches_of(step.sequence) for step in steps]
        states = [new_states(step.sequence) for step in steps]
        logits = self._evaluate(steps, caches, states)
        for step, rows, its_states in zip(steps, caches, states, strict=True):
            self._keep_blocks(step.sequence, rows, step.sequence.length + len(step.token_ids))
            self.cache.advance(step.sequence, len(step.token_ids), its_states)
        self._logits = logits
        return logits

    def largest(self) -> NDArray[np.int64]:
        """See `Executor.largest`."""
        return np.where(np.isfinite(self._logits).all(axis=1), self._logits.argmax(axis=1), -1)

    def _caches_of(self, sequence: CachedSequence) -> dict[str, ReferenceCache]:
        """The sequence's rows by cache, as many as it is long: what a step that failed left, or what was cut, is
        forgotten, and what it took over from others is copied from their blocks."""
        caches = self._caches.get(sequence)
        if caches is None:
            caches = self._caches[sequence] = {
                value.name: ReferenceCache(
                    value.type.size(1), value.type.size(2), self.kv_cache_dtype,
                    spreads=value is layer.key and layer.value is not None,
                )
                for layer in self.graph.caches.values()
                for value in layer.stored
            }
            for block in sequence.tables[0][: sequence.length // BLOCK_POSITIONS].tolist():
                for name, cache in caches.items():
                    cache.extend(self._block_rows[block][name])
        for cache in caches.values():
            cache.length = sequence.length
        return caches

    def _keep_blocks(self, sequence: CachedSequence, caches: dict[str, ReferenceCache], length: int) -> None:
        """Put copies of what was added into the blocks of a sequence that is to be `length` tokens long."""
        for number in range(sequence.length // BLOCK_POSITIONS, -(-length // BLOCK_POSITIONS)):
            rows = slice(number * BLOCK_POSITIONS, (number + 1) * BLOCK_POSITIONS)
            self._block_rows[int(sequence.tables[0][number])] = {
                name: cache.rows[rows].copy() for name, cache in caches.items()
            }

    def request_stop(self) -> None:
        """Let the running step stop after the operator at work."""
        self._stop.set()

    def clear_stop(self) -> None:
        """Forget stop requests made so far."""
        self._stop.clear()

    def release_memory(self) -> None:
        """Nothing to do: a sequence that is forgotten takes its memory with it."""

    def close(self) -> None:
        """Give the weights back."""
        self._weights.clear()

    def _evaluate(
        self, steps: list[SequenceStep], caches: list[dict[str, ReferenceCache]], states: list[States]
    ) -> Floats:
        """Walk the nodes in order; a value is dropped after its last reader."""
        context = step_context(steps, self.graph.config)
        values: dict[Value, Any] = {**self._weights, **self._inputs(steps)}
        readers = Counter(value for node in self.graph.nodes for value in node.inputs.values())
        for node in self.graph.nodes:
            if self._stop.is_set():
                raise StepStopped
            arguments = {
                name: self._argument(node, name, node.operator.parameter(name).kind, caches, states, values)
                for name in node.inputs
            }
            results = node.evaluate(context, arguments)
            keep_states(node, arguments, states)
            values.update((value, results[name]) for name, value in node.outputs.items())
            for value in node.inputs.values():
                readers[value] -= 1
                if value.kind == "data" and not readers[value] and value is not self.graph.logits:
                    del values[value]
        logits: Floats = values[self.graph.logits][0]
        return logits

    def _argument(
        self,
        node: Node,
        name: str,
        kind: Kind,
        caches: list[dict[str, ReferenceCache]],
        states: list[States],
        values: dict[Value, Any],
    ) -> Any:
        value = node.inputs[name]
        if kind is Kind.STATE:
            return [each[value.name] for each in states]
        if kind is not Kind.CACHE:
            return values[value]
        of_sequences: list[SequenceCache] = [each[value.name] for each in caches]
        return of_sequences

    def _inputs(self, steps: list[SequenceStep]) -> dict[Value, Any]:
        """The graph's inputs that are no caches, as arrays."""
        positions = [step.sequence.length + np.arange(len(step.token_ids)) for step in steps]
        arrays: dict[str, NDArray[Any]] = {
            "inputIds": np.concatenate([step.token_ids for step in steps]).astype(np.int32)[None],
            "positionIds": np.concatenate(positions).astype(np.int32)[None],
            "seqLens": np.array([len(step.token_ids) for step in steps], np.int32),
            "attentionMask": _MARKER,
            "atype": _MARKER,
        }
        for name, table in self._tables.items():
            table.fill(1 + max(int(each[-1]) for each in positions))
            suffix = f".{name}" if name else ""
            arrays[f"sin{suffix}"], arrays[f"cos{suffix}"] = table.sin, table.cos
        return {value: arrays[name] for name, value in self.graph.inputs.items() if name in arrays}


def _rounded(weight: Floats, format: WeightFormat) -> Floats:
    """A matrix, or a stack of them, as the format holds it."""
    return format.rounded(weight.reshape(-1, weight.shape[-1])).reshape(weight.shape)


def _rope_tables(graph: CheckedGraph) -> dict[str, RopeTables]:
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


def _cached_values(graph: CheckedGraph) -> list[Value]:
    return [value for layer in graph.caches.values() for value in layer.stored]
