"""Which layers share blocks, and where their keys and values lie in them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.engine.cache_groups import CACHE_KINDS, plan_cache
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


def sizes(cache: LayerCache, dtype: str) -> tuple[int, int]:
    """Bytes of keys and values of a layer in a block: of a head's values the dim is padded to a multiple of 16, in int8
    that of its keys, too; int8 has scales."""
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
