"""Which layers share a block of the KV cache.

A block holds BLOCK_POSITIONS positions of one sequence in the layers of one group. Layers of one reach belong together,
since their blocks go out of sight together. All blocks have one size, so that any free block serves any group: a kind
of layer that needs more than that is cut into several groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import LayerCache
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, INT4, INT8_INT4, key_bytes, key_kind, value_bytes, value_kind
from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, INT8
from ftllm_nb.ops.lowering import CachePlaces
from ftllm_nb.ops.reach import Reach

CACHE_KINDS = {"float16": FLOAT16, "float32": FLOAT32, "int8": INT8, "int4": INT4, "int8int4": INT8_INT4}
"""The types that `--kv_cache_dtype` takes."""
_MOST_BLOCKS = 8
"""About how many groups a model's layers make at most: each costs a little time a step, few waste memory."""


@dataclass(frozen=True)
class CachePlan:
    """Where each layer's keys and values lie. `reaches`: of each group; `size`: bytes of a block, for all groups."""

    places: dict[int, CachePlaces]
    reaches: tuple[Reach, ...]
    size: int

    def held_bytes(self, length: int) -> dict[Reach, int]:
        """Bytes that a sequence of so many tokens takes, by what its layers see."""
        found: dict[Reach, int] = {}
        for reach in self.reaches:
            found[reach] = found.get(reach, 0) + self.size * held_blocks(reach, length, BLOCK_POSITIONS)
        return found


def plan_cache(layers: Mapping[int, LayerCache], dtype: str) -> CachePlan:
    """The groups of these layers, with keys and values of type `dtype`. Raises `UsageError`."""
    require_cache_type(layers, dtype)
    kind = CACHE_KINDS[dtype]
    sizes = {layer: layer_bytes(cache, dtype) for layer, cache in layers.items()}
    kinds: dict[Reach, list[int]] = {}
    for layer, cache in layers.items():
        kinds.setdefault(cache.reach, []).append(layer)
    size = _block_size([[sizes[layer] for layer in members] for members in kinds.values()])
    places: dict[int, CachePlaces] = {}
    reaches: list[Reach] = []
    for reach, members in kinds.items():
        used = size
        for layer in members:
            if used + sizes[layer] > size:
                reaches.append(reach)
                used = 0
            cache = layers[layer]
            values = used + cache.heads * key_bytes(kind, cache.key_dim)
            places[layer] = CachePlaces(used, values, kind, len(reaches) - 1)
            used += sizes[layer]
    return CachePlan(places, tuple(reaches) or (Reach(),), size)


def require_cache_type(layers: Mapping[int, LayerCache], dtype: str) -> None:
    """Raise `UsageError` where these layers have no caches of type `dtype`."""
    if dtype not in CACHE_KINDS:
        raise UsageError(f'"{dtype}" is no KV cache type; known are {", ".join(CACHE_KINDS)}')
    if dtype not in cache_types(layers):
        raise UsageError(
            f"kv_cache_dtype {dtype} is not for this model: some of its layers store one tensor for keys and values, "
            "as latent attention does; use int8, float16 or float32."
        )


def part_dtype(dtype: str, is_key: bool) -> str:
    """The type of the keys, or of the values, in caches of type `dtype`."""
    kind = CACHE_KINDS[dtype]
    part = key_kind(kind) if is_key else value_kind(kind)
    return next(name for name, each in CACHE_KINDS.items() if each == part)


def cache_types(layers: Mapping[int, LayerCache]) -> list[str]:
    """The types that caches of these layers may have."""
    are_latent = any(cache.value is None for cache in layers.values())
    return [dtype for dtype, kind in CACHE_KINDS.items() if value_kind(kind) != INT4 or not are_latent]


def layer_bytes(cache: LayerCache, dtype: str) -> int:
    """Bytes of a layer in a block, a multiple of 64."""
    kind = CACHE_KINDS[dtype]
    each = key_bytes(kind, cache.key_dim)
    if cache.value is not None:
        each += value_bytes(kind, cache.value_dim)
    size = cache.heads * each
    return -(-size // 64) * 64


def held_blocks(reach: Reach, length: int, block_positions: int, at_once: int = 1) -> int:
    """Most blocks of a group that a sequence holds on its way to `length` tokens, `at_once` in a step."""
    blocks = -(-length // block_positions)
    if not reach.is_limited:
        return blocks
    # Seen before its own position, its own step, and a block that both ends cut.
    seen = min(each for each in (reach.window, reach.chunk) if each) - 1
    return min(blocks, -(-(seen + at_once) // block_positions) + 1)


def _block_size(kinds: Iterable[list[int]]) -> int:
    """Bytes of a block: the smallest kind as a whole, unless that makes too many groups of the others."""
    kinds = list(kinds)
    if not kinds:
        return 0
    largest_layer, everything = max(map(max, kinds)), sum(map(sum, kinds))
    return max(largest_layer, min(map(sum, kinds)), -(-everything // _MOST_BLOCKS // 64) * 64)
