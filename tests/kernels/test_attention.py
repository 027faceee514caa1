"""Attention over cache blocks against softmax(q · Kᵀ · scale) · V in double precision, in tiles and split."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.kernels.attention import attend_kernel, tile_tokens
from ftllm_nb.kernels.attention_single import attend_split_kernel, merge_splits, partial_floats
from ftllm_nb.kernels.cache_layout import SPAN_BLOCKS, SPAN_POSITIONS
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
from tests.kernels.cache_blocks import KINDS, POSITIONS, UNUSED, Layout
from tests.kernels.kernel_runs import UNIT, Floats, Rows, run_all

STARTS = st.sampled_from([0, 1, 15, 47, 63, 64, 130, 255, 300, 600])
GAPS = st.sampled_from([0, 1, 16])
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
        self.value_scales = np.zeros((layout.kv_heads, self.length))
        for part in ("keys", "values"):
            for head, position in np.ndindex(layout.kv_heads, self.length):
                self._draw(part, head, position, random)

    def _draw(self, part: str, head: int, position: int, random: np.random.Generator) -> None:
        dim = self._layout.key_dim if part == "keys" else self._layout.value_dim
        if self._layout.dtype == "int8":
            self.set(part, head, position, random.integers(-127, 128, dim), random.uniform(0.001, 0.02))
        else:
            self.set(part, head, position, random.standard_normal(dim).astype(self._layout.dtype))

    def set(self, part: str, head: int, position: int, elements: NDArray[Any], scale: float = 1) -> None:
        """Put a key or value of these elements, times the scale in an int8 cache, into the cache."""
        block = self._blocks[self._order[position // POSITIONS]]
        self._layout.write(block, part, head, position % POSITIONS, elements, scale)
        kept = self.keys if part == "keys" else self.values
        kept[head, position] = elements * np.float64(np.float32(scale))
        if part == "values":
            self.value_scales[head, position] = scale

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
        partials = aligned_bytes(4 * num_partials * partial_floats(self.heads, layout.value_dim))
        tables = {
            STEP_SEQUENCES: _table(sequences, SEQUENCE_FIELDS),
            STEP_TILES: _table(tiles, TILE_FIELDS),
            STEP_SPLITS: _table(splits, SPLIT_FIELDS),
            STEP_MERGES: _table(merges, MERGE_FIELDS),
            STEP_PARTIALS: partials,
            STEP_POSITIONS: positions,
        }
        counts = {STEP_NUM_TILES: len(tiles), STEP_NUM_SPLITS: len(splits), STEP_NUM_MERGES: len(merges)}
        kernels = [attend_kernel(layout.kind), attend_split_kernel(layout.kind, self.group), merge_splits]
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
        which its score is off.
        """
        layout, token = self.layout, 0
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
                    if self.softcap:
                        scores = self.softcap * np.tanh(scores / self.softcap)
                        size *= 1.5  # a division, the tanh within three units, and a product
                    sink = -np.inf if self.sinks is None else float(self.sinks[head])
                    weights = np.exp(scores - scores.max())
                    total = weights.sum() + np.exp(sink - scores.max())
                    spans = -(-seen // SPAN_POSITIONS)
                    units = 2 * ((layout.key_dim + 3) * size + 2 * size + 8 * (spans + 1)) + seen + spans + 4
                    bound = units * UNIT * np.abs(values).max()
                    if layout.dtype == "int8":
                        half_step = np.abs(queries[token, head]).max() * self.scale / STEPS / 2
                        bound += 2 * np.abs(keys).sum(axis=1).max() * half_step * np.abs(values).max()
                        scales = sequence.value_scales[head // self.group, first:seen]
                        for at in range(first - first % POSITIONS, seen, POSITIONS):
                            block = slice(max(0, at - first), at - first + POSITIONS)
                            rounded = np.abs(values[block] / scales[block, None]).sum(axis=0)
                            half_step = (weights[block] * scales[block]).max() / STEPS / 2
                            bound = bound + 1.01 * rounded * half_step / total
                    error = np.abs(results[token, head] - weights @ values / total)
                    assert (error <= bound).all(), (position, head)
                token += 1


def _table(rows: list[tuple[int, ...]], fields: int) -> NDArray[np.int64]:
    table = np.zeros((max(1, len(rows)), fields), np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


shapes = {
    "kv_heads": st.sampled_from([1, 2]),
    "group": st.sampled_from([1, 3]),
    "key_dim": st.sampled_from([1, 5, 16, 34, 64]),
    "value_dim": st.sampled_from([1, 15, 16, 33, 64]),
    "gaps": st.tuples(GAPS, GAPS),
    "seed": st.integers(0, 9),
}


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=40, deadline=None)
@given(
    spans=st.lists(st.tuples(STARTS, st.sampled_from([1, 2, 17, 66])), min_size=1, max_size=3),
    height=st.sampled_from([1, 7, 32]),
    causal=st.booleans(),
    **shapes,
)
def test_tiles_of_tokens(
    dtype: str, spans: list[tuple[int, int]], height: int, causal: bool, kv_heads: int, group: int, key_dim: int,
    value_dim: int, gaps: tuple[int, int], seed: int,
) -> None:  # fmt: skip
    attention = Attention.drawn(Layout(dtype, kv_heads, key_dim, value_dim), group, spans, causal, seed)
    height = min(height, tile_tokens(attention.heads, kv_heads))
    attention.assert_right(attention.in_tiles(height, gaps))


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=40, deadline=None)
@given(
    starts=st.lists(STARTS, min_size=1, max_size=3), causal=st.booleans(), **shapes
)
def test_single_tokens_split_into_spans(
    dtype: str, starts: list[int], causal: bool, kv_heads: int, group: int, key_dim: int,
    value_dim: int, gaps: tuple[int, int], seed: int,
) -> None:  # fmt: skip
    spans = [(start, 1) for start in starts]
    attention = Attention.drawn(Layout(dtype, kv_heads, key_dim, value_dim), group, spans, causal, seed)
    got = attention.split(gaps)
    attention.assert_right(got)
    np.testing.assert_array_equal(got, attention.in_tiles(1), "the same bits as in a tile")


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("group", [1, 3])
def test_a_token_gives_the_same_bits_however_it_is_computed(dtype: str, group: int) -> None:
    """All tokens of a sequence in one step, in tiles of any height, or the last one alone, split."""
    attention = Attention.drawn(Layout(dtype, 2, 34, 33), group, [(40, 190), (0, 1), (63, 2), (250, 300), (600, 1)])
    whole = attention.in_tiles(tile_tokens(attention.heads, 2))
    for height in (1, 2, 5, 13, 31):
        np.testing.assert_array_equal(attention.in_tiles(height), whole)
    for index, sequence in enumerate(attention.sequences):
        last = attention.first_tokens[index + 1] - 1
        single = replace(
            attention, sequences=[sequence.last_alone()], queries=attention.queries[last : last + 1]
        )
        np.testing.assert_array_equal(single.split(), whole[last : last + 1])


LIMITS = st.fixed_dictionaries({
    "window": st.sampled_from([0, 1, 2, 63, 64, 65, 100, 256, 257, 500]),
    "chunk": st.sampled_from([0, 0, 1, 64, 100, 256]),
    "softcap": st.sampled_from([0.0, 0.5, 30.0]),
})  # fmt: skip
"""What attention may be limited by."""


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=20, deadline=None)
@given(
    spans=st.lists(st.tuples(STARTS, st.sampled_from([1, 2, 17, 64, 150])), min_size=1, max_size=2),
    limits=LIMITS, has_sinks=st.booleans(), group=st.sampled_from([1, 3]), value_dim=st.sampled_from([16, 33]),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_windows_chunks_caps_and_sinks(
    dtype: str, spans: list[tuple[int, int]], limits: dict[str, Any], has_sinks: bool, group: int, value_dim: int,
    seed: int,
) -> None:  # fmt: skip
    """In tiles of any height and split, to the same bits; blocks that are before all windows are not read."""
    drawn = Attention.drawn(Layout(dtype, 2, 34, value_dim), group, spans, seed=seed)
    sinks = np.random.default_rng(seed).normal(0, 3, drawn.heads).astype(np.float32) if has_sinks else None
    attention = replace(drawn, sinks=sinks, **limits)
    for sequence in attention.sequences:
        sequence.forget_before(attention.first_seen(sequence.start))
    whole = attention.in_tiles(tile_tokens(attention.heads, 2))
    attention.assert_right(whole)
    np.testing.assert_array_equal(attention.in_tiles(7), whole)
    for index, sequence in enumerate(attention.sequences):
        sequence.forget_before(attention.first_seen(sequence.length - 1))
        last = attention.first_tokens[index + 1] - 1
        single = replace(
            attention, sequences=[sequence.last_alone()], queries=attention.queries[last : last + 1]
        )
        np.testing.assert_array_equal(single.split(), whole[last : last + 1])


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("position", [0, 70, 300, 549])
def test_a_score_far_above_the_others_takes_all(dtype: str, position: int) -> None:
    """In whichever block it is: differences of scores are far below what exp can hold, and nothing overflows."""
    attention = Attention.drawn(Layout(dtype, 1, 16, 16), 1, [(549, 1)])
    sequence = attention.sequences[0]
    sequence.set("keys", 0, position, np.full(16, 100), 1)
    attention.queries[:] = 1e4
    for got in (attention.in_tiles(1), attention.split()):
        step = sequence.value_scales.max() / STEPS if dtype == "int8" else 0
        np.testing.assert_allclose(got[0], sequence.values[0, position].astype(np.float32), UNIT, 127 * step / 2)


def test_a_sink_of_attention_does_not_coarsen_the_other_weights() -> None:
    """Most weight may be that of a value near zero: what is left keeps its precision."""
    attention = Attention.drawn(Layout("int8", 1, 16, 16), 1, [(63, 1)])
    sequence = attention.sequences[0]
    sequence.set("keys", 0, 0, np.full(16, 127), 1)
    sequence.set("values", 0, 0, np.ones(16, int), 1e-7)
    attention.queries[:] = 0.01
    attention.assert_right(attention.in_tiles(1))
    keys, values = sequence.keys[0], sequence.values[0]
    weights = np.exp((keys - keys[0]) @ attention.queries[0].astype(np.float64) * attention.scale)
    exact = weights @ values / weights.sum()
    assert weights[1:].sum() < 0.5
    error = np.linalg.norm(attention.split()[0] - exact) / np.linalg.norm(exact)
    assert error < 1e-4
