"""Attention over cache blocks against softmax(q · Kᵀ · scale) · V in double precision, in tiles and split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.attention import tile_tokens
from tests.kernels.attention_cases import STEPS, Attention
from tests.kernels.cache_blocks import KINDS, Layout
from tests.kernels.kernel_runs import UNIT

STARTS = st.sampled_from([0, 1, 15, 47, 63, 64, 130, 255, 300, 600])
GAPS = st.sampled_from([0, 1, 16])

# Attention is compiled for each number of queries to a key, and each type of the cache.
each_case = pytest.mark.parametrize(
    ("dtype", "group"),
    [
        ("float32", 2), ("float32", 3), ("float16", 2),
        *(pytest.param(*each, marks=pytest.mark.slow)
          for each in (("int8", 2), ("int4", 2), ("float16", 3), ("int8", 3), ("int4", 3), ("int4", 1), ("int4", 7))),
    ],
)  # fmt: skip
shapes = {
    "kv_heads": st.sampled_from([1, 2]),
    "key_dim": st.sampled_from([1, 5, 16, 34, 64]),
    "value_dim": st.sampled_from([1, 15, 16, 33, 64]),
    "gaps": st.tuples(GAPS, GAPS),
    "seed": st.integers(0, 9),
}


@each_case
@settings(max_examples=15, deadline=None)
@given(
    spans=st.lists(st.tuples(STARTS, st.sampled_from([1, 2, 17, 66])), min_size=1, max_size=3),
    height=st.sampled_from([1, 7, 32]),
    causal=st.booleans(),
    **shapes,
)
def test_tiles_of_tokens(
    dtype: str, group: int, spans: list[tuple[int, int]], height: int, causal: bool, kv_heads: int, key_dim: int,
    value_dim: int, gaps: tuple[int, int], seed: int,
) -> None:  # fmt: skip
    attention = Attention.drawn(Layout(dtype, kv_heads, key_dim, value_dim), group, spans, causal, seed)
    height = min(height, tile_tokens(attention.heads, kv_heads))
    attention.assert_right(attention.in_tiles(height, gaps))


@each_case
@settings(max_examples=15, deadline=None)
@given(
    starts=st.lists(STARTS, min_size=1, max_size=3), causal=st.booleans(), **shapes
)
def test_single_tokens_split_into_spans(
    dtype: str, group: int, starts: list[int], causal: bool, kv_heads: int, key_dim: int,
    value_dim: int, gaps: tuple[int, int], seed: int,
) -> None:  # fmt: skip
    spans = [(start, 1) for start in starts]
    attention = Attention.drawn(Layout(dtype, kv_heads, key_dim, value_dim), group, spans, causal, seed)
    got = attention.split(gaps)
    attention.assert_right(got)
    np.testing.assert_array_equal(got, attention.in_tiles(1), "the same bits as in a tile")


@each_case
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


@each_case
@settings(max_examples=15, deadline=None)
@given(
    spans=st.lists(st.tuples(STARTS, st.sampled_from([1, 2, 17, 64, 150])), min_size=1, max_size=2),
    limits=LIMITS, has_sinks=st.booleans(), value_dim=st.sampled_from([16, 33]), seed=st.integers(0, 9),
)  # fmt: skip
def test_windows_chunks_caps_and_sinks(
    dtype: str, group: int, spans: list[tuple[int, int]], limits: dict[str, Any], has_sinks: bool, value_dim: int,
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
    attention = Attention.drawn(Layout(dtype, 1, 16, 16), 2, [(549, 1)])
    sequence = attention.sequences[0]
    sequence.set("keys", 0, position, np.full(16, 100), 1)
    attention.queries[:] = 1e4
    for got in (attention.in_tiles(1), attention.split()):
        step = sequence.value_scales.max() / STEPS if dtype in ("int8", "int4") else 0
        expected = np.tile(sequence.values[0, position].astype(np.float32), 2)
        np.testing.assert_allclose(got[0], expected, UNIT, 127 * step / 2)


def test_a_sink_of_attention_does_not_coarsen_the_other_weights() -> None:
    """Most weight may be that of a value near zero: what is left keeps its precision."""
    attention = Attention.drawn(Layout("int8", 1, 16, 16), 2, [(63, 1)])
    sequence = attention.sequences[0]
    sequence.set("keys", 0, 0, np.eye(1, 16, dtype=int)[0] * 127, 16)  # Hadamard's matrix makes it of 127s
    sequence.set("values", 0, 0, np.ones(16, int), 1e-7)
    attention.queries[:] = 0.01
    attention.assert_right(attention.in_tiles(1))
    keys, values = sequence.keys[0], sequence.values[0]
    weights = np.exp((keys - keys[0]) @ attention.queries[0, :16].astype(np.float64) * attention.scale)
    exact = weights @ values / weights.sum()
    assert weights[1:].sum() < 0.5
    error = np.linalg.norm(attention.split()[0, :16] - exact) / np.linalg.norm(exact)
    assert error < 1e-4
