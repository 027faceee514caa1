"""The executor that walks compiled kernels: the engine proper.

It lowers a checked graph to a program once, packs the weights, and runs each step as one walk of the program by
all worker threads, with host steps in between where the graph has any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.block_memory import BlockMemory
from ftllm_nb.engine.block_pool import BlockPool
from ftllm_nb.engine.cache_groups import plan_cache
from ftllm_nb.engine.computed_weights import with_computed_weights
from ftllm_nb.engine.early_pages import EarlyPages
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.host_cache import HostCache, cache_parts
from ftllm_nb.engine.in_place import packed_experts, placed_by
from ftllm_nb.engine.kv_cache import KVCache
from ftllm_nb.engine.state_memory import StateSlot
from ftllm_nb.engine.step_checks import check_steps
from ftllm_nb.engine.step_context import step_context
from ftllm_nb.engine.step_plan import StepPlan
from ftllm_nb.engine.step_states import halved_states, keep_states, last_states, new_states
from ftllm_nb.engine.threads import WALK_KERNELS, ThreadPool
from ftllm_nb.engine.weight_loading import load_weights, loading_kernels, read_float32, require_memory
from ftllm_nb.engine.weight_types import AS_STORED, WeightTypes
from ftllm_nb.errors import StepStopped
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.inputs import rope_table
from ftllm_nb.graph.ir import STATE, CheckedGraph, Node, Value, rows_symbol
from ftllm_nb.graph.lower import lower
from ftllm_nb.graph.order_inputs import order_inputs
from ftllm_nb.graph.program import Program, RowTime
from ftllm_nb.graph.quantize_inputs import quantize_inputs
from ftllm_nb.graph.types import Symbol
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS
from ftllm_nb.kernels.compile import Kernel, prepare
from ftllm_nb.kernels.experts import experts_in
from ftllm_nb.kernels.peaks import RUN
from ftllm_nb.kernels.step import ROW_CHUNK_BYTES
from ftllm_nb.ops.base import StepContext
from ftllm_nb.ops.lowering import features

Floats = NDArray[np.float32]
See = Callable[[Node, Value, Floats], None]

STEP_TOKENS_LIMIT = 512
"""Most tokens of a step: longer prompts are prefilled in chunks, which bounds memory."""


class CompiledExecutor:
    """See `Executor`. `threads`: the workers, the calling thread included; `pin`: each on a core of its own.
    `in_place`: experts are used where they lie in the checkpoint's files, where it is packed (in_place.py).
    `early_pages`: memory for weights. `with_weights`: False: they stay zeros that take no memory, to time what does not
    depend on them.

    Raises `UsageError` for types that weights or caches cannot have, `EngineError` when memory is out.
    """

    maps_experts = True
    max_step_tokens = STEP_TOKENS_LIMIT

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
        early_pages: EarlyPages | None = None,
        with_weights: bool = True,
    ) -> None:
        checkpoint = with_computed_weights(checkpoint, graph)
        self.vocab_size = graph.vocab_size
        self._noted: list[RowTime] | None = None
        self._see: See | None = None
        self._logits: Floats = np.empty((0, graph.vocab_size), np.float32)
        self._of_no_token: dict[Value, Floats] = {}
        """Data of the step under way that has no row for each token: host steps make and read it."""
        plan = plan_cache(graph.caches, kv_cache_dtype)
        places = {cache.key: plan.places[layer] for layer, cache in graph.caches.items()}
        self._cache_parts = cache_parts(graph.caches, plan.places)
        format_of = weight_types.formats(graph)
        graph = self._graph = order_inputs(graph, checkpoint.column_order)
        fused = quantize_inputs(fuse(graph, format_of), format_of)
        self._memory = BlockMemory(plan.size)
        self.block_bytes = self._memory.block_bytes
        pool = BlockPool(self._memory.grow)
        halves = halved_states(graph, state_dtype)
        self.cache = KVCache(plan.reaches, BLOCK_POSITIONS, pool, graph.state_shapes, plan.size, halves)
        experts = packed_experts(graph, checkpoint) if in_place else set()
        self._files = checkpoint if experts else None
        placed = placed_by(experts, checkpoint)
        self._program = lower(
            fused, format_of, places, self.max_step_tokens, self.cache.states.memory.places, placed,
            None if early_pages is None else early_pages.memory,
        )  # fmt: skip
        self._host_states = _host_states(self._program)
        self.cache.states.saves_within_steps = not self._host_states
        if with_weights:
            require_memory(self._program, 0 if early_pages is None else early_pages.touched)
        needs = self._program.needs
        self._known_ids = min(self.vocab_size, needs.id_rows.get("inputIds", self.vocab_size))
        self.max_positions = min(graph.max_positions, needs.id_rows.get("positionIds", graph.max_positions))
        self._host_weights = _host_weights(self._program, checkpoint)
        kernels = {*self._program.kernels, *loading_kernels(self._program, checkpoint), *WALK_KERNELS}
        prepare(sorted(kernels, key=_work_to_compile, reverse=True), progress)
        self._program.link()
        self._pool = ThreadPool(threads, needs.scratch_bytes, pin)
        if early_pages is not None:
            early_pages.finish()
        try:
            if with_weights:
                load_weights(self._program, checkpoint, self._pool, progress)
        except BaseException:
            self._pool.close()
            raise

    def run(self, steps: list[SequenceStep]) -> Floats:
        """Run one step; see `Executor.run`."""
        check_steps(steps, self._known_ids, self.max_positions, self.max_step_tokens)
        if self._files is not None:
            self._files.require_unchanged()
        for step in steps:
            self.cache.reserve(step.sequence, step.sequence.length + len(step.token_ids))
        longest = max(step.sequence.length + len(step.token_ids) for step in steps)
        for table in self._program.tables.values():
            table.fill(longest)
        needs = self._program.needs
        new = new_states(self.cache, steps, self._host_states)
        states = [last_states(slots) for slots in new]
        plan = StepPlan(steps, needs.tile_tokens, needs.partial_floats, new if self.cache.states.exist else ())
        context = step_context(steps, self._graph.config)
        for number, segment in enumerate(self._program.segments):
            if isinstance(segment, Node):
                self._evaluate(segment, plan, steps, states, context)
                self._show(segment, plan)
            elif not self._walk(number, segment, plan):
                raise StepStopped
            self._program.raise_failures()
        for step, slots in zip(steps, new, strict=True):
            self.cache.advance(step.sequence, len(step.token_ids), slots)
        logits: Floats = self._view(self._graph.logits, plan)[0]
        self._logits = logits
        return logits

    def largest(self) -> NDArray[np.int64]:
        """See `Executor.largest`: only the run that holds the largest logit is looked through."""
        peaks = self._program.peaks[: len(self._logits)]
        runs = peaks.argmax(axis=1)  # NaN counts as the largest
        starts = runs * RUN
        rows = zip(self._logits, starts, strict=True)
        ids = np.array([start + logits[start : start + RUN].argmax() for logits, start in rows], np.int64)
        return np.where(np.isnan(peaks[np.arange(len(runs)), runs]), -1, ids)

    def profile(self, steps: list[SequenceStep]) -> list[RowTime]:
        """Run one step as `run` does; what was seen of each row of the program, host steps left out."""
        self._noted = []
        try:
            self.run(steps)
            return self._noted
        finally:
            self._noted = None

    def run_watched(self, steps: list[SequenceStep], see: See) -> Floats:
        """Run one step as `run` does, operator by operator; `see` is shown a copy of what each has written as float32,
        before anything changes it in place."""
        self._see = see
        try:
            return self.run(steps)
        finally:
            self._see = None

    def experts_read(self) -> tuple[int, int] | None:
        """Of the last step's last layer with a mixture: experts that it read, and how many there are."""
        if not self._program.routings:
            return None
        units, experts = self._program.routings[-1]
        return experts_in(units), experts

    def _walk(self, number: int, rows: NDArray[np.int64], plan: StepPlan) -> bool:
        if self._see is not None:
            return self._walk_by_node(number, rows, plan)
        if self._noted is None:
            return self._pool.run(rows, plan.header)
        times, chunks = np.zeros(len(rows) + 1, np.int64), np.zeros(len(rows), np.int64)
        self._pool.note_times(times, chunks)
        started = time.perf_counter()
        try:
            finished = self._pool.run(rows, plan.header)
        finally:
            self._pool.note_times(None, None)
        counts = np.diff(times)
        seconds = counts * ((time.perf_counter() - started) / max(1, int(counts.sum())))
        seen = zip(
            self._program.labels[number], seconds.tolist(), chunks.tolist(), rows[:, ROW_CHUNK_BYTES].tolist(),
            strict=True,
        )  # fmt: skip
        self._noted += [RowTime(*each) for each in seen]
        return finished

    def _walk_by_node(self, number: int, rows: NDArray[np.int64], plan: StepPlan) -> bool:
        nodes, begin = self._program.nodes[number], 0
        for _, its_rows in groupby(nodes, id):
            end = begin + sum(1 for _ in its_rows)
            if not self._pool.run(rows[begin:end], plan.header):
                return False
            if (written := nodes[begin]) is not None:
                self._show(written, plan)
            begin = end
        return True

    def _show(self, node: Node, plan: StepPlan) -> None:
        if self._see is None:
            return
        for name, value in node.outputs.items():
            if value in self._program.places and name not in node.forms:
                self._see(node, value, self._view(value, plan).copy())

    def request_stop(self) -> None:
        """Let the running step stop after a chunk of the operator at work."""
        self._pool.request_stop()

    def clear_stop(self) -> None:
        """Forget stop requests made so far."""
        self._pool.clear_stop()

    def release_memory(self) -> None:
        """Give the cache's memory back, if no sequence is in it."""
        if self.cache.forget_all():
            self._memory.give_back()
            self.cache.states.memory.give_back()

    def close(self) -> None:
        """Stop the threads and give the memory back."""
        self._pool.close()
        self._program.memory.clear()

    def _evaluate(
        self,
        node: Node,
        plan: StepPlan,
        steps: list[SequenceStep],
        states: list[StateSlot],
        context: StepContext,
    ) -> None:
        """Run a host step: its reference on copies of its tensors, on the blocks of its caches, and on new states."""
        arguments = {
            name: self._host_caches(node, name, steps)
            if value in self._cache_parts
            else self._host_array(value, plan, states)
            for name, value in node.inputs.items()
        }
        for name, array in node.evaluate(context, arguments).items():
            value = node.outputs[name]
            if value in self._program.places:
                self._view(value, plan)[...] = array
            else:
                self._of_no_token[value] = array
        keep_states(node, arguments, states)

    def _host_caches(self, node: Node, name: str, steps: list[SequenceStep]) -> list[HostCache]:
        """A node's cache `name` of each sequence; one that stores nothing sees what was stored before it."""
        part, stores = self._cache_parts[node.inputs[name]], node.operator.parameter(name).holds in node.inputs
        return [
            HostCache(
                part, step.sequence.tables[part.group], step.sequence.length, 0 if stores else len(step.token_ids)
            )
            for step in steps
        ]

    def _host_array(self, value: Value, plan: StepPlan, states: list[StateSlot]) -> Any:
        if value.kind == STATE:
            return [each[value.name] for each in states]
        if value.kind == "weight":
            return self._host_weights[value]
        if value.kind == "data":
            of_no_token = self._of_no_token.get(value)
            return self._view(value, plan).copy() if of_no_token is None else of_no_token
        table = rope_table(value.name)
        if table is not None:
            return getattr(self._program.tables[table[1]], table[0])
        return {
            "inputIds": plan.token_ids[None],
            "positionIds": plan.positions[None],
            "seqLens": plan.seq_lens,
        }.get(value.name, np.empty(0, np.float32))

    def _view(self, value: Value, plan: StepPlan) -> Floats:
        """An activation's memory, in its shape for this step."""
        place = self._program.places[value]
        rows = len(plan.row_tokens) if rows_symbol(value) is Symbol.ROWS else len(plan.token_ids)
        width = features(value)
        if rows == 0:
            return np.empty((1, 0, width), np.float32)
        arena = self._program.arena
        start = (place.address - int(arena.ctypes.data)) // 4
        row_floats = place.stride // 4
        floats = arena.view(np.float32)[start : start + (rows - 1) * row_floats + width]
        strided = np.lib.stride_tricks.as_strided(floats, (rows, width), (place.stride, 4))
        return _with_axes(strided, value)


def _work_to_compile(kernel: Kernel) -> tuple[int, str]:
    """Grows with the time that it takes to compile, as far as it can be told: several processes that share kernels out
    end soonest together if the longest come first."""
    return len(kernel.function.__code__.co_code), kernel.name


def _with_axes(rows: Floats, value: Value) -> Floats:
    """[rows, features] as a view in the value's shape."""
    sizes = [value.type.size(axis) for axis in range(2, value.type.rank)]
    strides, step = [], 4
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    shape = (1, len(rows), *sizes)
    return np.lib.stride_tricks.as_strided(rows, shape, (0, rows.strides[0], *reversed(strides)))


def _host_weights(program: Program, checkpoint: Checkpoint) -> dict[Value, Floats]:
    """The weights that host steps read, as float32."""
    return {
        value: read_float32(checkpoint, value.name)
        for segment in program.segments
        if isinstance(segment, Node)
        for value in segment.inputs.values()
        if value.kind == "weight"
    }


def _host_states(program: Program) -> list[str]:
    """The states of operators that have no kernel, by name."""
    return [
        value.name
        for segment in program.segments
        if isinstance(segment, Node)
        for value in segment.inputs.values()
        if value.kind == STATE
    ]
