"""Rotated by position and stored in the cache, against the definitions in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.hadamard import hadamard
from ftllm_nb.kernels.cache_rows import store_kernel
from ftllm_nb.kernels.rotation import rotate_kernel
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_SLOTS
from tests.kernels.cache_blocks import KINDS, POSITIONS, Layout, hadamard_matrix
from tests.kernels.kernel_runs import UNIT, Floats, Rows, run

LONGEST = 200
"""Positions of the tables of angles."""
HEAD_DIMS = st.sampled_from([2, 6, 16, 34, 64])
GAPS = st.sampled_from([0, 1, 16])
SEEDS = st.integers(0, 9)


class Angles:
    """Tables of sines and cosines, float32 [positions, angles]."""

    def __init__(self, angles: int) -> None:
        turns = np.outer(np.arange(LONGEST), 100.0 ** -(np.arange(angles) / angles))
        self.sin, self.cos = np.sin(turns).astype(np.float32), np.cos(turns).astype(np.float32)
        self.arguments = (self.sin.ctypes.data, self.cos.ctypes.data, 4 * angles)

    def assert_rotated(self, got: Floats, before: Floats, positions: NDArray[np.int32], pairs: int) -> None:
        """[tokens, heads, dim]: the pairs (j, j + dim/2), j < pairs, are turned; all else has kept its bits.

        Two products and their difference are rounded, each by at most 2^-24 of the two products' magnitudes.
        """
        half = before.shape[-1] // 2
        left, right = slice(0, pairs), slice(half, half + pairs)
        first, second = before[..., left].astype(np.float64), before[..., right].astype(np.float64)
        sin, cos = (table[positions, None, :pairs].astype(np.float64) for table in (self.sin, self.cos))
        for place, exact, size in (
            (left, first * cos - second * sin, abs(first * cos) + abs(second * sin)),
            (right, second * cos + first * sin, abs(second * cos) + abs(first * sin)),
        ):
            assert (np.abs(got[..., place] - exact) <= 2.01 * UNIT * size).all()
        kept = np.ones(before.shape[-1], bool)
        kept[left] = kept[right] = False
        np.testing.assert_array_equal(got[..., kept], before[..., kept])


def padded(x: Floats, columns: int) -> Floats:
    """A vector filled up with zeros."""
    return np.concatenate([x, np.zeros(columns - len(x), np.float32)])


def heads_of(rows: Rows, heads: int) -> Floats:
    """[tokens, heads, dim], a copy."""
    return rows.values.reshape(len(rows.values), heads, -1).copy()


@settings(max_examples=50, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 17]), heads=st.sampled_from([1, 3]), dim=HEAD_DIMS,
    part=st.sampled_from([0.0, 0.5, 1.0]), gap=GAPS, seed=SEEDS,
)  # fmt: skip
def test_heads_are_turned_by_their_position(
    tokens: int, heads: int, dim: int, part: float, gap: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows, pairs = Rows(random.standard_normal((tokens, heads * dim), np.float32), gap), int(part * (dim // 2))
    before, angles = heads_of(rows, heads), Angles(dim // 2 + 1)
    positions = random.integers(0, LONGEST, tokens).astype(np.int32)
    run(rotate_kernel(False), tokens, rows.address, rows.stride, heads, dim, dim // 2, pairs, *angles.arguments,
        fields={STEP_POSITIONS: positions.ctypes.data})  # fmt: skip
    angles.assert_rotated(heads_of(rows, heads), before, positions, pairs)
    rows.assert_marks()


class Step:
    """Tokens of two sequences, the second one beginning at another position, stored in blocks of their own."""

    def __init__(self, layout: Layout, starts: tuple[int, int], counts: tuple[int, int]) -> None:
        self.layout = layout
        spans = [np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]
        self.positions = np.concatenate(spans).astype(np.int32)
        per_sequence = LONGEST // POSITIONS + 1
        order = np.random.default_rng(5).permutation(2 * per_sequence)
        sequence = np.repeat([0, 1], counts)
        self.block_of = order[sequence * per_sequence + self.positions // POSITIONS]
        self.blocks = layout.new_blocks(2 * per_sequence)
        # Of two groups of layers, whose blocks are others, the row is in the second.
        slots = self.blocks.ctypes.data + self.block_of * self.blocks.strides[0]
        self._slots = np.stack([np.zeros_like(slots), slots])

    def store(self, query: Rows, key: Rows, value: Rows, query_pairs: int, key_pairs: int, angles: Angles) -> None:
        layout = self.layout
        heads = query.values.shape[1] // layout.key_dim
        run(store_kernel(layout.kind), len(self.positions), key.address, key.stride, value.address, value.stride,
            layout.kv_heads, layout.key_dim, layout.value_dim, layout.keys, layout.values, query.address, query.stride,
            heads, query_pairs, key_pairs, *angles.arguments, 1,
            fields={STEP_POSITIONS: self.positions.ctypes.data, STEP_SLOTS: self._slots.ctypes.data})  # fmt: skip

    def assert_stored(self, part: str, rows: Floats, expected: NDArray[np.uint8]) -> None:
        """The cache holds [tokens, kv heads, dim], rounded to its type; `expected` gets the same."""
        for token, position in enumerate(self.positions % POSITIONS):
            block = self.block_of[token]
            for head in range(self.layout.kv_heads):
                x = rows[token, head]
                if self.layout.is_int4:
                    columns = self.layout.columns(part)
                    steps = self.layout.read(self.blocks[block], part, head, position)
                    scales = self.layout.group_scales(self.blocks[block], part, head, position)
                    exact = (hadamard_matrix(columns)[:, : len(x)] @ x.astype(np.float64)).reshape(-1, 32)
                    off = np.abs(steps.reshape(-1, 32) * scales[:, None] - exact)
                    largest = np.abs(exact).max(axis=1)
                    assert ((off**2).mean(axis=1) <= (largest / 8) ** 2 / 3).all(), "steps of an eighth, mostly halved"
                    assert (off.max(axis=1) <= largest * 0.31).all(), "−10 steps may become −8, 10 steps 7"
                    self.layout.write(expected[block], part, head, position, steps, scales)
                    continue
                if self.layout.dtype != "int8":
                    self.layout.write(expected[block], part, head, position, x.astype(self.layout.dtype))
                    continue
                exact, units = x.astype(np.float64), 2.02
                if self.layout.spreads(part):
                    columns = self.layout.key_columns
                    matrix = hadamard_matrix(columns)[:, : len(x)]
                    exact, units = matrix @ exact, 2.02 + 2 * np.log2(columns)
                    assert np.abs(hadamard(padded(x, columns)) - exact).max() <= units * UNIT * np.abs(x).sum()
                largest = np.abs(exact).max()
                steps = self.layout.read(self.blocks[block], part, head, position)
                loose = 127 * units * UNIT * (np.abs(x).sum() / largest if self.layout.spreads(part) else 1)
                assert (np.abs(steps - exact * (127 / largest)) <= 0.5 + loose).all()
                scale = self.layout.scale(self.blocks[block], part, head, position)
                assert abs(scale - largest / 127) <= (loose / 127 + 2 * UNIT) * largest / 127
                self.layout.write(expected[block], part, head, position, steps, scale)


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=50, deadline=None)
@given(
    starts=st.tuples(st.sampled_from([0, 60, 130]), st.sampled_from([0, 1, 63])),
    counts=st.tuples(st.sampled_from([1, 5, 67]), st.sampled_from([1, 16])),
    kv_heads=st.sampled_from([1, 2]), group=st.sampled_from([1, 3]), key_dim=HEAD_DIMS,
    value_dim=st.sampled_from([1, 15, 16, 34]), query_part=st.sampled_from([0.0, 1.0]),
    key_part=st.sampled_from([0.0, 0.5, 1.0]), gaps=st.tuples(GAPS, GAPS, GAPS), seed=SEEDS,
)  # fmt: skip
def test_keys_are_turned_and_stored_with_their_values(
    dtype: str, starts: tuple[int, int], counts: tuple[int, int], kv_heads: int, group: int, key_dim: int,
    value_dim: int, query_part: float, key_part: float, gaps: tuple[int, int, int], seed: int,
) -> None:  # fmt: skip
    random, tokens, heads = np.random.default_rng(seed), sum(counts), kv_heads * group
    step = Step(Layout(dtype, kv_heads, key_dim, value_dim), starts, counts)
    query, key, value = (
        Rows(random.standard_normal((tokens, width), np.float32), gap)
        for width, gap in zip((heads * key_dim, kv_heads * key_dim, kv_heads * value_dim), gaps, strict=True)
    )
    old_query, old_key, old_value = heads_of(query, heads), heads_of(key, kv_heads), value.values.copy()
    angles, expected = Angles(key_dim // 2), step.blocks.copy()
    query_pairs, key_pairs = (int(part * (key_dim // 2)) for part in (query_part, key_part))
    step.store(query, key, value, query_pairs, key_pairs, angles)

    angles.assert_rotated(heads_of(query, heads), old_query, step.positions, query_pairs)
    angles.assert_rotated(heads_of(key, kv_heads), old_key, step.positions, key_pairs)
    np.testing.assert_array_equal(value.values, old_value)
    step.assert_stored("keys", heads_of(key, kv_heads), expected)
    step.assert_stored("values", heads_of(value, kv_heads), expected)
    np.testing.assert_array_equal(step.blocks, expected, "nothing else in the cache was written")
    for rows in (query, key, value):
        rows.assert_marks()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_int8_key_that_is_no_number_has_a_scale_that_is_none(value: float) -> None:
    layout = Layout("int8", 2, 16, 16)
    step = Step(layout, (3, 0), (2, 1))
    key = Rows(np.ones((3, 32), np.float32))
    key.values[1, 20] = value
    step.store(Rows(np.ones((3, 32), np.float32)), key, Rows(np.ones((3, 32), np.float32)), 0, 0, Angles(8))
    block = step.blocks[step.block_of[1]]
    assert not np.isfinite(layout.scale(block, "keys", 1, 4))
    for head, position in ((0, 3), (0, 4), (1, 3)):
        assert layout.scale(block, "keys", head, position) == np.float32(16 / 127), "the sum of 16 ones"
    assert (layout.scales(block, "values", 1)[3:5] == np.float32(1 / 127)).all()


def test_an_int4_key_that_is_no_number_has_scales_that_are_none_and_zeros_stay_zeros() -> None:
    layout = Layout("int4", 2, 64, 16)
    step = Step(layout, (3, 0), (2, 1))
    rows = [Rows(np.ones((3, width), np.float32)) for width in (128, 128, 32)]
    rows[1].values[1, 70], rows[1].values[2] = np.nan, 0
    step.store(*rows, 0, 0, Angles(32))
    first, second = (step.blocks[step.block_of[token]] for token in (0, 2))
    assert not np.isfinite(layout.group_scales(first, "keys", 1, 4)).any()
    for head, position in ((0, 3), (0, 4), (1, 3)):
        assert np.isfinite(layout.group_scales(first, "keys", head, position)).all()
    assert (layout.read(second, "keys", 0, 0) == 0).all() and (layout.group_scales(second, "keys", 0, 0) == 0).all()


@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 70), count=st.integers(1, 90))
def test_int4_values_that_share_bytes_are_written_by_one_worker(start: int, count: int) -> None:
    """Chunks of tokens end where no byte is shared: whichever workers write them, nothing is lost."""
    layout = Layout("int4", 1, 32, 32)
    step = Step(layout, (start, 0), (count, 1))
    rows = [Rows(np.random.default_rng(1).standard_normal((count + 1, 32), np.float32)) for _ in range(3)]
    step.store(*rows, 0, 0, Angles(16))
    expected = layout.new_blocks(len(step.blocks))
    step.assert_stored("values", heads_of(rows[2], 1), expected)
    step.assert_stored("keys", heads_of(rows[1], 1), expected)
    np.testing.assert_array_equal(step.blocks, expected)


def test_an_int8_key_of_zeros_stays_zeros() -> None:
    layout = Layout("int8", 1, 16, 16)
    step = Step(layout, (0, 0), (1, 1))
    zeros = [Rows(np.zeros((2, 16), np.float32)) for _ in range(3)]
    step.store(*zeros, 0, 0, Angles(8))
    for block in step.blocks[step.block_of]:
        for part in ("keys", "values"):
            assert (layout.read(block, part, 0, 0) == 0).all()
            assert layout.scale(block, part, 0, 0) == 0
