"""Attention where a value is a part of its key: the values that are laid out, and the results, in tiles and split."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.attention import tile_tokens
from ftllm_nb.kernels.cache_layout import value_bytes
from ftllm_nb.kernels.latent_values import lay_values
from ftllm_nb.memory import aligned_bytes
from tests.kernels.attention_cases import Attention
from tests.kernels.cache_blocks import KINDS, POSITIONS, Layout

DIMS = [(1, 1), (16, 16), (20, 16), (34, 33), (40, 15), (72, 64)]
"""Sizes of keys and values."""


def latent(dtype: str, dims: tuple[int, int], kv_heads: int = 1) -> Layout:
    return Layout(dtype, kv_heads, *dims, are_latent=True)


@functools.cache
def laying(kind: int) -> Any:
    """`lay_values` of a type of cache, to be called from Python."""
    lay = lay_values(kind)

    @numba.njit
    def run(keys: int, key_dim: int, value_dim: int, target: int) -> None:
        lay(keys, key_dim, value_dim, target)

    return run


@pytest.mark.parametrize("dtype", [dtype for dtype in KINDS if dtype != "int4"])  # which no latent cache has
@pytest.mark.parametrize("dims", DIMS)
def test_values_of_a_block(dtype: str, dims: tuple[int, int]) -> None:
    """What is laid out is what a block that stores them has."""
    layout, stored = latent(dtype, dims, 2), Layout(dtype, 2, *dims)
    run = laying(layout.kind)
    block = layout.new_blocks(1)[0]
    random, head_bytes = np.random.default_rng(1), value_bytes(layout.kind, layout.value_dim)
    target = aligned_bytes(2 * head_bytes)
    expected = stored.new_blocks(1)[0]
    expected[stored.values : stored.values + 2 * head_bytes] = target
    for head, position in np.ndindex(2, POSITIONS):
        if dtype == "int8":
            key, scale = random.integers(-127, 128, layout.key_dim), random.uniform(0.01, 1)
        else:
            key, scale = random.standard_normal(layout.key_dim).astype(dtype), 0.0
        layout.write(block, "keys", head, position, key, scale)
        stored.write(expected, "values", head, position, key[: layout.value_dim], scale)
    for head in range(2):
        keys = block.ctypes.data + layout.keys + head * layout._head_bytes("keys")
        run(keys, layout.key_dim, layout.value_dim, target.ctypes.data + head * head_bytes)
    got = stored.new_blocks(1)[0]
    got[stored.values : stored.values + 2 * head_bytes] = target
    for head, position in np.ndindex(2, POSITIONS):
        found, wanted = (stored.read(each, "values", head, position) for each in (got, expected))
        np.testing.assert_array_equal(found, wanted)
        if dtype == "int8":
            assert stored.scale(got, "values", head, position) == stored.scale(expected, "values", head, position)


# Attention takes half a minute to compile for each type of the cache and number of queries to a key.
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "group"), [("float16", 5), ("float16", 1), ("float32", 5), ("int8", 5)])
@settings(max_examples=20, deadline=None)
@given(
    spans=st.lists(st.tuples(st.sampled_from([0, 1, 47, 64, 130, 300, 600]), st.sampled_from([1, 2, 17, 66])),
                   min_size=1, max_size=2),
    dims=st.sampled_from(DIMS), kv_heads=st.sampled_from([1, 2]), causal=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_latent_attention(
    dtype: str, group: int, spans: list[tuple[int, int]], dims: tuple[int, int], kv_heads: int, causal: bool, seed: int
) -> None:
    attention = Attention.drawn(latent(dtype, dims, kv_heads), group, spans, causal, seed)
    whole = attention.in_tiles(tile_tokens(attention.heads, kv_heads))
    attention.assert_right(whole)
    np.testing.assert_array_equal(attention.in_tiles(1), whole)
    for index, sequence in enumerate(attention.sequences):
        last = attention.first_tokens[index + 1] - 1
        single = replace(attention, sequences=[sequence.last_alone()], queries=attention.queries[last : last + 1])
        np.testing.assert_array_equal(single.split(), whole[last : last + 1])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_many_heads_on_one_vector(dtype: str) -> None:
    """More than a tile of tokens has rows: as DeepSeek-V3's 128."""
    attention = Attention.drawn(latent(dtype, (40, 32)), 128, [(270, 3)])
    whole = attention.in_tiles(tile_tokens(attention.heads, 1))
    attention.assert_right(whole)
    single = replace(attention, sequences=[attention.sequences[0].last_alone()], queries=attention.queries[-1:])
    np.testing.assert_array_equal(single.split(), whole[-1:])
