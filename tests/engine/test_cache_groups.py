"""Which layers share blocks, and where their keys and values lie in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.engine.cache_groups import CACHE_KINDS, cache_types, plan_cache
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import LayerCache, Value
from ftllm_nb.graph.types import Symbol, TensorType
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS
from ftllm_nb.ops.reach import Reach

BYTES = {"float16": 2, "float32": 4, "int8": 1}
KINDS = [Reach(), Reach(window=512), Reach(chunk=256)]


def layer(number: int, heads: int, key_dim: int, value_dim: int, reach: Reach = KINDS[0]) -> LayerCache:
    key, value = (
        Value(f"{name}.{number}", TensorType((Symbol.CACHED, heads, dim)), "input")
        for name, dim in (("pastKey", key_dim), ("pastValue", value_dim))
    )
    return LayerCache(number, key, value, reach)


@pytest.mark.parametrize("dtype", ["int4", "int8int4"])
def test_latent_layers_refuse_values_of_4_bits(dtype: str) -> None:
    key = Value("pastKey.0", TensorType((Symbol.CACHED, 1, 64)), "input")
    latent = {0: LayerCache(0, key, None, Reach())}
    assert cache_types(latent) == ["float16", "float32", "int8"]
    assert cache_types({0: layer(0, 1, 64, 64)}) == list(CACHE_KINDS)
    with pytest.raises(UsageError, match=f"kv_cache_dtype {dtype} is not for this model: some of its layers"):
        plan_cache(latent, dtype)


def sizes(cache: LayerCache, dtype: str) -> tuple[int, int]:
    """Bytes of keys and values of a layer in a block: of a head's values the dim is padded to a multiple of 16, in int8
    that of its keys, too; int8 has scales. In int4 both are padded to a multiple of 32, whose scales take 2 bytes."""
    if dtype == "int4":
        padded_to_32 = (-(-each // 32) * 32 for each in (cache.key_dim, cache.value_dim))
        return tuple(cache.heads * each * (BLOCK_POSITIONS // 2 + 4) for each in padded_to_32)  # type: ignore[return-value]
    if dtype == "int8int4":
        return sizes(cache, "int8")[0], sizes(cache, "int4")[1]
    scales = 4 * BLOCK_POSITIONS if dtype == "int8" else 0
    columns = -(-cache.key_dim // 16) * 16 if dtype == "int8" else cache.key_dim
    padded = -(-cache.value_dim // 16) * 16
    return tuple(  # type: ignore[return-value]
        cache.heads * (BLOCK_POSITIONS * each * BYTES[dtype] + scales) for each in (columns, padded)
    )


layers = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 70), st.integers(1, 70), st.sampled_from(KINDS)), max_size=12
)


@settings(deadline=None)
@given(layers, st.sampled_from(sorted(CACHE_KINDS)))
def test_keys_and_values_lie_apart_in_blocks_of_their_reach(
    shapes: list[tuple[int, int, int, Reach]], dtype: str
) -> None:
    caches = {3 * n: layer(3 * n, *shape) for n, shape in enumerate(shapes)}
    plan = plan_cache(caches, dtype)
    taken: dict[int, list[tuple[int, int]]] = {}
    for number, cache in caches.items():
        place, (keys, values) = plan.places[number], sizes(cache, dtype)
        assert place.kind == CACHE_KINDS[dtype] and plan.reaches[place.group] == cache.reach
        assert place.keys % 64 == place.values % 64 == 0, "vectors are loaded from there"
        taken.setdefault(place.group, []).extend([(place.keys, keys), (place.values, values)])
    for spans in taken.values():
        spans.sort()
        ends = [start + size for start, size in spans]
        assert all(end <= start for end, (start, _) in zip(ends, spans[1:], strict=False))
        assert ends[-1] <= plan.size
    assert len(plan.reaches) == max(1, len(taken)) and plan.size % 64 == 0
    assert len(plan.reaches) <= 2 * 8 + len(KINDS), "few groups, however many layers"


def test_layers_of_one_kind_are_one_group_without_a_byte_to_spare() -> None:
    plan = plan_cache({number: layer(number, 2, 64, 64) for number in range(24)}, "float16")
    assert plan.reaches == (Reach(),)
    assert plan.size == 24 * 2 * 2 * 64 * 2 * BLOCK_POSITIONS
    assert plan.held_bytes(1000) == {Reach(): 16 * plan.size}


def test_a_few_full_layers_among_windows_make_blocks_of_their_number() -> None:
    """As Gemma 3 1B: 22 layers with a window, 4 without, keys and values of 256 in one head."""
    caches = {
        number: layer(number, 1, 256, 256, KINDS[0] if number % 6 == 5 else KINDS[1]) for number in range(26)
    }
    plan = plan_cache(caches, "float16")
    one = 2 * 256 * 2 * BLOCK_POSITIONS
    assert plan.size == 4 * one and plan.reaches.count(KINDS[0]) == 1 and plan.reaches.count(KINDS[1]) == 6
    # 8192 positions of four layers, and of six groups of windows nine blocks and one that both ends cut.
    assert plan.held_bytes(8192) == {KINDS[0]: 128 * plan.size, KINDS[1]: 6 * 9 * plan.size}
    assert sum(plan.held_bytes(8192).values()) < 0.33 * 26 * 128 * one


def test_a_graph_without_a_cache_has_a_group_all_the_same() -> None:
    plan = plan_cache({}, "float16")
    assert plan.reaches == (Reach(),) and plan.size == 0
