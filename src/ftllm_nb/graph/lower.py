"""Lowering: from a fused graph to a program of rows, with memory for its activations and weights."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import EngineError, GraphError
from ftllm_nb.graph.inputs import rope_table
from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Node, Value, rows_symbol
from ftllm_nb.graph.position_tables import PositionTables
from ftllm_nb.graph.program import Needs, Program, RowLabel, VectorPart
from ftllm_nb.graph.rope import RopeTables
from ftllm_nb.graph.storage import plan_storage
from ftllm_nb.graph.types import Symbol, format_shape
from ftllm_nb.graph.weight_memory import Placed, WeightMemory
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.peaks import PEAKS, RUN, peaks
from ftllm_nb.kernels.step import (
    ROW_ARGUMENTS,
    ROW_CHUNK_BYTES,
    ROW_FIELDS,
    ROW_NEXT,
    STEP_ROWS,
    STEP_TOKENS,
)
from ftllm_nb.memory import Slabs, aligned_bytes
from ftllm_nb.ops.base import Array
from ftllm_nb.ops.lowering import NOTHING, CachePlaces, PackedMatrices, PackedWeight, Place, Reads, StatePlace


def lower(
    graph: CheckedGraph,
    format_of: FormatOf,
    caches: dict[Value, CachePlaces],
    max_tokens: int,
    states: Mapping[str, StatePlace] | None = None,
    placed: Placed = lambda weight, format: None,
    memory: NDArray[np.uint8] | None = None,
) -> Program:
    """The program of a fused graph, for steps of at most `max_tokens` tokens. Weights are not loaded yet.

    `format_of`: the format of a matrix; matrices that are packed together have one. `caches`: by the value of a
    layer's keys. `states`: where each state lies among those of a sequence, in bytes. `placed`: the packed bytes of a
    matrix that is in memory already. `memory`: zeroed bytes for the others, before any are taken. Raises `GraphError`
    for operators that ask for what there is not, `EngineError` when memory is out.
    """
    return _Lowering(graph, format_of, caches, max_tokens, states or {}, placed, memory).run()


class _Lowering:
    """Implements ops/lowering.py's protocol."""

    def __init__(
        self,
        graph: CheckedGraph,
        format_of: FormatOf,
        caches: dict[Value, CachePlaces],
        max_tokens: int,
        states: Mapping[str, StatePlace],
        placed: Placed,
        memory: NDArray[np.uint8] | None,
    ) -> None:
        self.graph = graph
        self.config = graph.config
        self.caches = caches
        self.states = states
        self.most_tokens = max_tokens
        self.spans = plan_storage(graph, max_tokens)
        self.memory: list[NDArray[np.uint8]] = []
        self.arena = self._allocate(self.spans.size, "activations")
        runs = -(-graph.vocab_size // RUN)
        self.peaks = self._allocate(4 * max_tokens * runs, "logits").view(np.float32).reshape(max_tokens, runs)
        self.rows: list[list[int]] = []
        self.reads: list[Reads] = []
        self.labels: list[RowLabel] = []
        self.nodes: list[Node | None] = []
        self.node: Node | None = None
        self.label: RowLabel | None = None
        self.temporaries: dict[tuple[str, int], int] = {}
        self.loaded_vectors: dict[tuple[Value | int | float, ...], int] = {}
        self.program = Program([], [], [], [], {}, [], [], Needs(), {}, self.memory, self.arena, self.peaks)
        self.weights = WeightMemory(
            format_of, placed, self._allocate, self.program.weights, self.memory, Slabs(memory)
        )

    def run(self) -> Program:
        """Lower node by node."""
        for node in self.graph.nodes:
            self.node, self.label = node, _label(node)
            if node.is_on_host:
                self._end_table()
                self.program.segments.append(node)
                self.program.labels.append([])
                self.program.nodes.append([])
                for value in (*node.inputs.values(), *node.outputs.values()):
                    if value in self.spans.spans:
                        self.place(value)
                    elif value.kind == "input" and (table := rope_table(value.name)) is not None:
                        self.rope_table(value)
                        self.program.tables[table[1]].fill(self.graph.max_positions)  # who knows which rows are read
            else:
                self._lower(node)
        self._find_peaks()
        self._end_table()
        return self.program

    def _lower(self, node: Node) -> None:
        assert node.operator.lower is not None
        try:
            node.operator.lower(node, self)
        except Exception as error:
            sentence = node.call.failure("lower", error)
            if sentence is None:
                raise
            raise sentence from error

    def add(self, kernel: Kernel, *arguments: int | float, reads: Reads = NOTHING) -> None:
        """Append a row; the kernel's address is filled in when it is compiled."""
        assert self.label is not None
        self._add(self.label, kernel, *arguments, reads=reads)
        if self.label.recurrent:
            self.label = replace(self.label, recurrent=0)

    def part(self, name: str, weights: Sequence[Value] = ()) -> None:
        """Label the rows that follow."""
        assert self.node is not None and self.label is not None
        whole = _label(self.node)
        self.label = replace(
            whole, operator=f"{whole.operator} {name}", weights=tuple(weights), is_product=bool(weights),
            recurrent=self.label.recurrent,
        )  # fmt: skip

    def _add(self, label: RowLabel, kernel: Kernel, *arguments: int | float, reads: Reads = NOTHING) -> None:
        if len(arguments) > ROW_ARGUMENTS:
            raise ValueError(f"{kernel} has {len(arguments)} arguments; a row holds {ROW_ARGUMENTS}")
        bits = [_float_bits(value) if isinstance(value, float) else value for value in arguments]
        row = [len(self.program.kernels), *bits, *[0] * (ROW_FIELDS - 1 - len(bits))]
        row[ROW_CHUNK_BYTES] = reads.chunk_bytes
        self.rows.append(row)
        self.reads.append(reads)
        self.program.kernels.append(kernel)
        self.labels.append(label)
        self.nodes.append(self.node)

    def _find_peaks(self) -> None:
        logits, self.node = self.place(self.graph.logits), None
        self._add(
            RowLabel("Peaks", (), None), peaks,
            *PEAKS.values(
                input=logits.address, stride=logits.stride, size=self.graph.vocab_size,
                output=int(self.peaks.ctypes.data), count=self.count(self.graph.logits),
            ),
            reads=Reads(4 * RUN),
        )  # fmt: skip

    def _end_table(self) -> None:
        if self.rows:
            self._say_what_is_next()
            self.program.segments.append(np.array(self.rows, np.int64))
            self.program.labels.append(self.labels)
            self.program.nodes.append(self.nodes)
            self.rows, self.labels, self.nodes, self.reads = [], [], [], []

    def _say_what_is_next(self) -> None:
        """Write into each row which weights are read next, after the last ones those of the next step."""
        following = next((reads for reads in self.reads if reads.address), NOTHING)
        for row, reads in zip(reversed(self.rows), reversed(self.reads), strict=True):
            row[ROW_NEXT:] = following.address, following.chunk_bytes, following.chunks
            following = reads if reads.address else following

    def place(self, tensor: Value) -> Place:
        """Where an activation lies; remembered for host steps."""
        if tensor not in self.spans.spans:
            raise self._error(
                f'asks where "{tensor.name}" {format_shape(tensor.type.shape)} lies, which no operator writes: place() '
                "is for data; a kernel finds token ids and positions in the step's header, sin and cos by rope_table()."
            )
        span = self.spans.spans[tensor]
        address = self.arena.ctypes.data + span.buffer.offset + 4 * span.column
        place = Place(int(address), 4 * span.buffer.row_floats)
        self.program.places[tensor] = place
        return place

    def count(self, tensor: Value) -> int:
        """The step's field that counts the tensor's rows."""
        return STEP_ROWS if rows_symbol(tensor) is Symbol.ROWS else STEP_TOKENS

    def weight(self, tensors: Sequence[Value]) -> PackedWeight:
        """Memory for matrices packed together; the same group is packed once."""
        assert self.node is not None
        packed = self.weights.weight(self.node, tensors)
        self.need_scratch(self.weights.scratch_bytes)
        return packed

    def matrices(self, tensors: Sequence[Value]) -> PackedMatrices:
        """Matrices of one shape, where they lie already or packed together."""
        assert self.node is not None
        packed = self.weights.matrices(self.node, tensors)
        self.need_scratch(self.weights.scratch_bytes)
        return packed

    def table(self, numbers: Sequence[int]) -> int:
        """Memory for numbers."""
        memory = self._allocate(8 * len(numbers), "a table")
        memory.view(np.int64)[:] = numbers
        return int(memory.ctypes.data)

    def vector(self, tensors: Sequence[Value | None], sizes: Sequence[int], plus: float = 0.0) -> int:
        """Memory for vectors, each padded with zeros; the same vectors are loaded once."""
        given = tuple(size if tensor is None else tensor for tensor, size in zip(tensors, sizes, strict=True))
        key = (*given, plus)
        if key not in self.loaded_vectors:
            starts = [sum(-(-size // 16) * 16 for size in sizes[:number]) for number in range(len(sizes) + 1)]
            memory = self._allocate(4 * starts[-1], "a vector")
            floats = memory.view(np.float32)
            for tensor, size, start in zip(tensors, sizes, starts, strict=False):
                target = floats[start : start + size]
                target[:] = plus
                if tensor is not None:
                    self.program.vectors.append(VectorPart(tensor, target, plus))
            self.loaded_vectors[key] = int(memory.ctypes.data)
        return self.loaded_vectors[key]

    def columns(self, tensor: Value) -> int:
        """Memory for a matrix, column by column."""
        rows, columns = tensor.type.size(0), math.prod(map(tensor.type.size, range(1, tensor.type.rank)))
        padded = -(-rows // 16) * 16
        floats = self._allocate(4 * padded * columns, "a matrix").view(np.float32).reshape(columns, padded)
        self.program.vectors.append(VectorPart(tensor, floats[:, :rows].T, 0.0))
        return int(floats.ctypes.data)

    def rope_table(self, tensor: Value) -> int:
        """A table of sines or cosines, made when it is first asked for."""
        named = rope_table(tensor.name) if tensor.kind == "input" else None
        if named is None:
            raise self._error(f'takes data "{tensor.name}" as sin or cos; only data["sin"] and data["cos"] can be.')
        function, name = named
        settings = self.graph.rope[name]
        tables = self._tables(name, "sin and cos", lambda positions: RopeTables(settings, positions))
        return int(getattr(tables, function).ctypes.data)

    def position_tables(
        self, name: str, columns: int, count: int, make: Callable[[Array], tuple[Array, ...]]
    ) -> tuple[int, ...]:
        """Tables that an operator makes of its numbers; the same name is made once."""

        def rows(wanted: slice) -> tuple[Array, ...]:
            return make(np.arange(wanted.start, wanted.stop, dtype=np.float32))

        made = self._tables(name, "a table", lambda positions: PositionTables(positions, columns, count, rows))
        return tuple(int(array.ctypes.data) for array in made.arrays)

    def _tables(self, name: str, what: str, make: Callable[[int], PositionTables]) -> PositionTables:
        """Those of the name, made when they are first asked for."""
        if name not in self.program.tables:
            positions = self.graph.max_positions
            try:
                self.program.tables[name] = make(positions)
            except MemoryError:
                raise self._error(
                    f"takes {what} of {positions} positions, for which there is no memory; lower "
                    "max_position_embeddings in config.json."
                ) from None
        return self.program.tables[name]

    def limit_ids(self, tensor: Value, rows: int) -> None:
        """Remember the smallest table that an input's values index."""
        rows_of = self.program.needs.id_rows
        rows_of[tensor.name] = min(rows, rows_of.get(tensor.name, rows))

    def cache(self, key: Value) -> CachePlaces:
        """A layer's share of a cache block."""
        return self.caches[key]

    def state(self, tensor: Value) -> StatePlace:
        """The state's place."""
        return self.states[tensor.name]

    def failure_word(self, error: Callable[[int], Exception]) -> int:
        """Memory for a word that a kernel sets."""
        word = np.zeros(1, np.int64)
        self.program.failures.append((word, error))
        return int(word.ctypes.data)

    def temporary(self, name: str, size: int) -> int:
        """Memory that operators share."""
        if (name, size) not in self.temporaries:
            self.temporaries[name, size] = int(self._allocate(size, f"the {name} of a step").ctypes.data)
        return self.temporaries[name, size]

    def routes(self, units: int, experts: int) -> None:
        """Remember it for profiles."""
        self.program.routings.append((units, experts))

    def need_scratch(self, size: int) -> None:
        """Remember the largest demand."""
        self.program.needs.scratch_bytes = max(size, self.program.needs.scratch_bytes)

    def need_partials(self, floats: int) -> None:
        """Remember the largest demand."""
        self.program.needs.partial_floats = max(floats, self.program.needs.partial_floats)

    def need_tiles(self, tokens: int) -> None:
        """Remember the smallest limit."""
        self.program.needs.tile_tokens = min(tokens, self.program.needs.tile_tokens)

    def _error(self, message: str) -> GraphError:
        assert self.node is not None
        return self.node.call.error(message)

    def _allocate(
        self, size: int, what: str, allocate: Callable[[int], NDArray[np.uint8]] = aligned_bytes
    ) -> NDArray[np.uint8]:
        try:
            memory = allocate(size)
        except MemoryError as error:
            raise EngineError(f"no memory for {what}: {size / 1e6:,.0f} MB are needed") from error
        self.memory.append(memory)
        return memory


def _float_bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def _label(node: Node) -> RowLabel:
    """The layer is the first whole number in the name of a weight, or of a cache that the node appends to: attention
    that stores nothing reads the cache of another layer, and its own is that of its neighbours."""
    names = (
        value.name if value.kind == "input" else value.tensor
        for name, value in node.inputs.items()
        if value.kind == "weight" or node.operator.parameter(name).holds in node.inputs
    )
    numbers = (re.search(r"(?<![A-Za-z0-9])\d+", name) for name in names)
    layer = next((int(number[0]) for number in numbers if number is not None), None)
    made = "".join(f" to {form.name}" for form in node.forms.values())
    work, reach = node.work, node.operator.reach(node.attributes)
    return RowLabel(
        node.operator.name + made, node.packed, layer, bool(node.products), work.attended, work.share, work.recurrent,
        reach,
    )  # fmt: skip
