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
from ftllm_nb.engine.cache_groups import part_dtype, require_cache_type
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.computed_weights import with_computed_weights
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.float_weights import rounded
from ftllm_nb.engine.kv_cache import GONE, KVCache
from ftllm_nb.engine.reference_walk import (
    ReferenceCache,
    cached_values,
    evaluate_node,
    graph_inputs,
    rope_tables,
)
from ftllm_nb.engine.state_memory import StateSlot
from ftllm_nb.engine.step_checks import check_steps
from ftllm_nb.engine.step_context import step_context
from ftllm_nb.engine.step_states import halved_states, last_states, new_states
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine.weight_types import AS_STORED, WeightTypes
from ftllm_nb.errors import StepStopped
from ftllm_nb.graph.ir import CheckedGraph, Value
from ftllm_nb.ops.reach import Reach

Floats = NDArray[np.float32]

BLOCK_POSITIONS = 16
"""Positions of a block: others than the compiled executor's, which tests that nobody counts on them."""


class ReferenceExecutor:
    """See `Executor`. `threads`, `pin` and `in_place` are accepted for the sake of the others: NumPy decides for
    itself, and weights are floats of its own.

    Integer weights stand for their float values, and activations stay float32: products differ from the compiled
    engine's by the rounding of activations.
    """

    maps_experts = False
    max_step_tokens = 512

    def __init__(
        self,
        graph: CheckedGraph,
        checkpoint: Checkpoint,
        *,
        weight_types: WeightTypes = AS_STORED,
        kv_cache_dtype: str = "float16",
        state_dtype: str = "float32",
        threads: int = 1,
        pin: bool = False,
        in_place: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        require_cache_type(graph.caches, kv_cache_dtype)
        checkpoint = with_computed_weights(checkpoint, graph)
        self.graph = graph
        self.vocab_size = graph.vocab_size
        self.max_positions = graph.max_positions
        self.kv_cache_dtype = kv_cache_dtype
        self._stop = threading.Event()
        numbers = count(GONE + 1)
        self._block_rows: dict[int, dict[str, Floats]] = {}
        self._caches: WeakKeyDictionary[CachedSequence, dict[str, ReferenceCache]] = WeakKeyDictionary()
        pool, halves = BlockPool(lambda: [next(numbers)]), halved_states(graph, state_dtype)
        self.cache = KVCache([Reach()], BLOCK_POSITIONS, pool, graph.state_shapes, halved_states=halves)
        widths = (value.type.size(1) * value.type.size(2) for value in cached_values(graph))
        self.block_bytes = BLOCK_POSITIONS * 4 * sum(widths)
        self._weights: dict[Value, Floats] = {}
        format_of, packed = weight_types.formats(graph), set(graph.packed)
        for done, (name, value) in enumerate(graph.weights.items()):
            # NumPy's products of a matrix that lies the other way round have other bits on some CPUs.
            weight = np.ascontiguousarray(read_float32(checkpoint, name))
            self._weights[value] = rounded(weight, format_of(value)) if value in packed else weight
            checkpoint.release(name)
            if progress is not None:
                progress("load", done + 1, len(graph.weights))
        self._tables = rope_tables(graph)

    def run(self, steps: list[SequenceStep]) -> Floats:
        """Run one step; see `Executor.run`."""
        check_steps(steps, self.vocab_size, self.max_positions, self.max_step_tokens)
        for step in steps:
            self.cache.reserve(step.sequence, step.sequence.length + len(step.token_ids))
        caches = [self._caches_of(step.sequence) for step in steps]
        states = new_states(self.cache, steps, self.graph.state_shapes)
        logits = self._evaluate(steps, caches, [last_states(slots) for slots in states])
        for step, rows, slots in zip(steps, caches, states, strict=True):
            self._keep_blocks(step.sequence, rows, step.sequence.length + len(step.token_ids))
            self.cache.advance(step.sequence, len(step.token_ids), slots)
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
                    value.type.size(1), value.type.size(2), part_dtype(self.kv_cache_dtype, value is layer.key),
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
        self, steps: list[SequenceStep], caches: list[dict[str, ReferenceCache]], states: list[StateSlot]
    ) -> Floats:
        """Walk the nodes in order; a value is dropped after its last reader."""
        context = step_context(steps, self.graph.config)
        token_ids = [step.token_ids for step in steps]
        positions = [step.sequence.length + np.arange(len(step.token_ids)) for step in steps]
        values: dict[Value, Any] = {**self._weights, **graph_inputs(self.graph, self._tables, token_ids, positions)}
        readers = Counter(value for node in self.graph.nodes for value in node.inputs.values())
        for node in self.graph.nodes:
            if self._stop.is_set():
                raise StepStopped
            evaluate_node(node, context, values, caches, states)
            for value in node.inputs.values():
                readers[value] -= 1
                if value.kind == "data" and not readers[value] and value is not self.graph.logits:
                    del values[value]
        logits: Floats = values[self.graph.logits][0]
        return logits
