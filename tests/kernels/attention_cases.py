"""Sequences in cache blocks, and attention to them by the kernels and by its definition in double precision."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.attention import attend_kernel
from ftllm_nb.kernels.attention_single import merge_kernel, partial_floats
from ftllm_nb.kernels.cache_layout import SPAN_BLOCKS, SPAN_POSITIONS
from ftllm_nb.kernels.latent_single import single_kernel
from ftllm_nb.kernels.step import (
    MERGE_FIELDS,
    SEQUENCE_FIELDS,
    SPLIT_FIELDS,
    STEP_MERGES,
    STEP_NUM_MERGES,
    STEP_NUM_SPLITS,
    STEP_NUM_TILES,
    STEP_PARTIALS,
    STEP_POSITIONS,
    STEP_SEQUENCES,
    STEP_SPLITS,
    STEP_TILES,
    TILE_FIELDS,
)
from ftllm_nb.memory import aligned_bytes
from tests.kernels.cache_blocks import POSITIONS, UNUSED, Layout, hadamard_matrix
from tests.kernels.kernel_runs import UNIT, Floats, Rows, run_all

STEPS = 127 * 256 + 127
"""The largest number in what multiplies an int8 cache."""


class Sequence:
    """What one sequence has in the cache, and which of its last tokens are in the step."""

    def __init__(self, layout: Layout, start: int, count: int, random: np.random.Generator) -> None:
        self.start, self.count, self.length = start, count, start + count
        number = -(-self.length // POSITIONS)
        self._layout, self._blocks, self._order = layout, layout.new_blocks(number), random.permutation(number)
        self.addresses = self._blocks.ctypes.data + self._order * self._blocks.strides[0]
        self.keys, self.values = (
            np.empty((layout.kv_heads, self.length, dim)) for dim in (layout.key_dim, layout.value_dim)
        )
        self.stored_keys = np.zeros((layout.kv_heads, self.length, layout.key_columns))
        self.value_scales = np.zeros((layout.kv_heads, self.length))
        self.stored_values = np.zeros((layout.kv_heads, self.length, layout.value_columns))
        for part in layout.parts:
            for head, position in np.ndindex(layout.kv_heads, self.length):
                self._draw(part, head, position, random)

    def _draw(self, part: str, head: int, position: int, random: np.random.Generator) -> None:
        dim = self._layout.key_dim if part == "keys" else self._layout.value_dim
        if self._layout.spreads(part):
            dim = self._layout.key_columns
        if self._layout.is_int4:
            columns = self._layout.columns(part)
            scales = random.choice([-1, 1], columns // 32) * 2.0 ** random.uniform(-9, -5, columns // 32)
            self.set(part, head, position, random.integers(-8, 8, columns), scales)
        elif self._layout.dtype == "int8":
            self.set(part, head, position, random.integers(-127, 128, dim), random.uniform(0.001, 0.02))
        else:
            self.set(part, head, position, random.standard_normal(dim).astype(self._layout.dtype))

    def set(self, part: str, head: int, position: int, elements: NDArray[Any], scale: Any = 1) -> None:
        """Put a key or value of these elements, times the scale in an int8 cache, or those of its groups in int4, into
        the cache; int8 keys, and all of int4, as what Hadamard's matrix has made of them."""
        if self._layout.is_int4:
            elements, scale = self._in_groups(part, elements, scale)
        block = self._blocks[self._order[position // POSITIONS]]
        self._layout.write(block, part, head, position % POSITIONS, elements, scale)
        kept = self.keys if part == "keys" else self.values
        each = np.repeat(scale, 32) if self._layout.is_int4 else scale
        floats = elements * np.float32(each).astype(np.float64)
        if part == "keys":
            self.stored_keys[head, position, : len(floats)] = floats
        elif self._layout.is_int4:
            self.stored_values[head, position] = floats
        if self._layout.spreads(part):
            matrix = hadamard_matrix(self._layout.columns(part))
            floats = (matrix @ floats / matrix[0].sum())[: kept.shape[-1]]
        kept[head, position] = floats
        if part == "values":
            self.value_scales[head, position] = np.abs(scale).max()
        elif self._layout.are_latent:
            self.values[head, position] = kept[head, position, : self._layout.value_dim]
            self.value_scales[head, position] = scale

    def _in_groups(
        self, part: str, elements: NDArray[Any], scale: Any
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Elements of an int4 row as steps of −8 … 7, and its scales, bfloat16."""
        columns = self._layout.columns(part)
        filled = np.zeros(columns)
        filled[: len(elements)] = elements
        larger = max(1.0, np.abs(filled).max() / 7)
        bits = np.broadcast_to(np.float32(scale * np.float32(larger)), columns // 32).copy().view(np.uint32)
        return np.clip(np.rint(filled / larger), -8, 7), (bits & 0xFFFF0000).view(np.float32)

    def forget_before(self, position: int) -> None:
        """Let the blocks in which all positions are before this one hold what no number is."""
        self._blocks[self._order[: position // POSITIONS]] = UNUSED

    def last_alone(self) -> Sequence:
        """The same with its last token alone in the step."""
        alone = copy.copy(self)
        alone.start, alone.count = self.length - 1, 1
        return alone


@dataclass(frozen=True)
class Attention:
    """Sequences in a step and the queries of their tokens."""

    layout: Layout
    group: int
    scale: float
    causal: bool
    sequences: list[Sequence]
    queries: Floats
    window: int = 0
    chunk: int = 0
    softcap: float = 0.0
    sinks: Floats | None = None

    @classmethod
    def drawn(
        cls, layout: Layout, group: int, spans: list[tuple[int, int]], causal: bool = True, seed: int = 0
    ) -> Attention:
        """`spans`: for each sequence how many tokens are in the cache before the step, and how many in the step."""
        random = np.random.default_rng(seed)
        sequences = [Sequence(layout, start, count, random) for start, count in spans]
        width = layout.kv_heads * group * layout.key_dim
        queries = random.standard_normal((sum(count for _, count in spans), width), np.float32)
        return cls(layout, group, float(np.float32(1.3 * layout.key_dim**-0.5)), causal, sequences, queries)

    def first_seen(self, position: int) -> int:
        """The first position that a token sees."""
        first = max(0, position + 1 - self.window) if self.window else 0
        return max(first, position // self.chunk * self.chunk) if self.chunk else first

    @property
    def heads(self) -> int:
        return self.layout.kv_heads * self.group

    @property
    def first_tokens(self) -> list[int]:
        """Where each sequence begins in the step."""
        return [0, *np.cumsum([sequence.count for sequence in self.sequences]).tolist()]

    def tiles(self, height: int) -> list[tuple[int, ...]]:
        """All tokens, in tiles of at most so many."""
        return [
            (index, first + at, min(height, sequence.count - at))
            for index, (sequence, first) in enumerate(zip(self.sequences, self.first_tokens, strict=False))
            for at in range(0, sequence.count, height)
        ]

    def in_tiles(self, height: int, gaps: tuple[int, int] = (0, 0)) -> Floats:
        """The outputs [tokens, heads · value dim] with all tokens in tiles."""
        return self._run(self.tiles(height), [], [], gaps)

    def split(self, gaps: tuple[int, int] = (0, 0)) -> Floats:
        """The outputs with every token split into spans; each sequence has one token."""
        splits, merges, partial = [], [], 0
        for index, sequence in enumerate(self.sequences):
            assert sequence.count == 1
            spans = -(-sequence.length // SPAN_POSITIONS)
            splits += [(index, index, span * SPAN_BLOCKS, partial + span) for span in range(spans)]
            merges.append((index, spans, partial))
            partial += spans
        return self._run([], splits, merges, gaps)

    def _run(
        self,
        tiles: list[tuple[int, ...]],
        splits: list[tuple[int, ...]],
        merges: list[tuple[int, ...]],
        gaps: tuple[int, int],
    ) -> Floats:
        layout, queries = self.layout, Rows(self.queries, gaps[0])
        out = Rows.unwritten(len(self.queries), self.heads * layout.value_dim, gaps[1])
        # Of three groups of layers, whose blocks are others, the row is in the second.
        groups = [np.array([0, sequence.addresses.ctypes.data, 0], np.int64) for sequence in self.sequences]
        sequences = [
            (group.ctypes.data, first, sequence.start, sequence.length)
            for group, sequence, first in zip(groups, self.sequences, self.first_tokens, strict=False)
        ]
        positions = np.concatenate([np.arange(each.start, each.length) for each in self.sequences]).astype(np.int32)
        num_partials = sum(merge[1] for merge in merges)
        partials = aligned_bytes(4 * num_partials * partial_floats(layout.kind, self.heads, layout.value_dim))
        tables = {
            STEP_SEQUENCES: _table(sequences, SEQUENCE_FIELDS),
            STEP_TILES: _table(tiles, TILE_FIELDS),
            STEP_SPLITS: _table(splits, SPLIT_FIELDS),
            STEP_MERGES: _table(merges, MERGE_FIELDS),
            STEP_PARTIALS: partials,
            STEP_POSITIONS: positions,
        }
        counts = {STEP_NUM_TILES: len(tiles), STEP_NUM_SPLITS: len(splits), STEP_NUM_MERGES: len(merges)}
        split = single_kernel(layout.kind, self.group, layout.are_latent)
        kernels = [attend_kernel(layout.kind, layout.are_latent), split, merge_kernel(layout.kind)]
        run_all(kernels, len(self.queries), queries.address, queries.stride, out.address, out.stride, self.heads,
                layout.kv_heads, layout.key_dim, layout.value_dim, layout.keys, layout.values, self.scale,
                int(self.causal), self.window, self.chunk, self.softcap,
                0 if self.sinks is None else int(self.sinks.ctypes.data), 1,
                fields=counts | {field: int(table.ctypes.data) for field, table in tables.items()})  # fmt: skip
        out.assert_marks()
        return out.values

    def assert_right(self, got: Floats) -> None:
        """Each token and head against the definition, within what float32 may lose.

        A score adds up key dim products: it is off by key dim + 3 units of the sum of their magnitudes (the scaling
        of the query and an int8 key's scale are two of them). Its weight exp(score − m) is off by as much relatively,
        by the rounding of the difference, and by exp's six units, once for the span and once for each merge. Weights
        that are off by a share move the average by at most twice that share of the largest value. Sums over the
        positions, and over spans, lose a unit for each.

        With an int8 cache a query's features are rounded to steps of its largest one / 32639, and so are, in each
        block, weights times the scales of their values: each is off by half a step, and a weight may gain the share by
        which its score is off. Queries and keys are multiplied by Hadamard's matrix before, where sums of so many
        features are off by a unit of their magnitudes for each step. With an int4 cache queries are rounded to steps of
        the largest feature in their group of 32 / 127, a query's scale loses its last two bits, and what is off in the
        sums of values is spread by the matrix over all features.
        """
        layout, token = self.layout, 0
        matrix = hadamard_matrix(layout.key_columns)
        run, matrix = matrix[0].sum() if layout.spreads("keys") else 1, matrix[:, : layout.key_dim]
        results = got.reshape(len(got), self.heads, layout.value_dim)
        queries = self.queries.reshape(len(got), self.heads, layout.key_dim).astype(np.float64)
        for sequence in self.sequences:
            for position in range(sequence.start, sequence.length):
                seen = position + 1 if self.causal else sequence.length
                first = self.first_seen(position)
                for head in range(self.heads):
                    keys = sequence.keys[head // self.group, first:seen]
                    values = sequence.values[head // self.group, first:seen]
                    scores = keys @ queries[token, head] * self.scale
                    size = (np.abs(keys) @ np.abs(queries[token, head])).max() * self.scale
                    query, stored = queries[token, head], sequence.stored_keys[head // self.group, first:seen]
                    if run > 1:
                        query = matrix @ query / run
                        sums = np.abs(matrix) @ np.abs(queries[token, head]) / run
                        size = (1 + np.log2(run)) * (np.abs(stored) @ sums).max() * self.scale
                    if self.softcap:
                        scores = self.softcap * np.tanh(scores / self.softcap)
                        size *= 1.5  # a division, the tanh within three units, and a product
                    sink = -np.inf if self.sinks is None else float(self.sinks[head])
                    weights = np.exp(scores - scores.max())
                    total = weights.sum() + np.exp(sink - scores.max())
                    spans = -(-seen // SPAN_POSITIONS)
                    units = 2 * ((layout.key_dim + 3) * size + 2 * size + 8 * (spans + 1)) + seen + spans + 4
                    bound = units * UNIT * np.abs(values).max()
                    if layout.is_int4:
                        bound = bound + self._int4_bound(sequence, head, first, seen, query, weights / total)
                    if layout.dtype == "int8":
                        half_step = np.abs(query).max() * self.scale / STEPS / 2
                        bound += 2 * np.abs(stored).sum(axis=1).max() * half_step * np.abs(values).max()
                        scales = sequence.value_scales[head // self.group, first:seen]
                        for at in range(first - first % POSITIONS, seen, POSITIONS):
                            block = slice(max(0, at - first), at - first + POSITIONS)
                            rounded = np.abs(values[block] / scales[block, None]).sum(axis=0)
                            half_step = (weights[block] * scales[block]).max() / STEPS / 2
                            bound = bound + 1.01 * rounded * half_step / total
                    error = np.abs(results[token, head] - weights @ values / total)
                    assert (error <= bound).all(), (position, head)
                token += 1

    def _int4_bound(
        self, sequence: Sequence, head: int, first: int, seen: int, query: Floats, weights: NDArray[np.float64]
    ) -> float:
        """What rounding queries and weights may add to the error."""
        here = slice(first, seen)
        stored = np.abs(sequence.stored_keys[head // self.group, here])
        values = np.abs(sequence.stored_values[head // self.group, here])
        steps = np.abs(query * self.scale).reshape(-1, 32).max(axis=1) / 127 * (0.5 + 127 * 2**-21)
        scores = (stored.reshape(len(stored), -1, 32).sum(axis=2) @ steps).max()
        found = 2 * np.expm1(scores) * np.abs(sequence.values[head // self.group, here]).max()
        scales = sequence.value_scales[head // self.group, here]
        for at in range(first - first % POSITIONS, seen, POSITIONS):
            block = slice(max(0, at - first), at - first + POSITIONS)
            half_step = (weights[block] * scales[block]).max() / STEPS * (0.5 + STEPS * 2**-21)
            found += 1.02 * np.exp(scores) * 8 * min(POSITIONS, len(values[block])) * half_step
        return float(found)


def _table(rows: list[tuple[int, ...]], fields: int) -> NDArray[np.int64]:
    table = np.zeros((max(1, len(rows)), fields), np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table
