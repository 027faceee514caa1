"""FusedAttention: append to the KV cache, then scaled dot-product attention with grouped heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.graph.types import ShapeError, Symbol, TensorType
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    SequenceCache,
    StepContext,
    Work,
    require_activation,
    require_vector,
)
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Place, Reads
from ftllm_nb.ops.reach import Reach

CAUSAL = 0
UNMASKED = 2

MERGED_VECTORS = 4
"""To merge a head's spans takes about as long as reading so many vectors of its values from memory."""


class FusedAttention(Operator):
    """Append curk and curv to the caches k and v; output = softmax(q · Kᵀ · scale) · V, of original's tokens.

    q [1, tokens, heads, dim], curk [1, tokens, kv heads, dim], curv [1, tokens, kv heads, v dim]; output
    [1, tokens, heads · v dim]. Head h of q reads kv head h // (heads / kv heads). maskType 0: causal, 2: a
    token sees all that is cached. The layer is the first integer in the cache's name; unitLen: a hint.

    Where curk and curv are None, nothing is stored: k and v are the caches of an earlier layer, whose keys and values
    this one attends to.

    A causal token sees, of the positions up to its own, the last `window` ones, itself included, and only those in its
    own chunk of `chunk` positions; 0 is no limit. `softcap` c, where it is not 0, makes each scaled score s into
    c · tanh(s / c) first. `sinks` [heads] are scores of one more key per head, whose value is zero.
    """

    parameters = (
        Parameter("q", Kind.INPUT),
        Parameter("k", Kind.CACHE, holds="curk"),
        Parameter("v", Kind.CACHE, holds="curv"),
        Parameter("curk", Kind.INPUT, may_be_none=True),
        Parameter("curv", Kind.INPUT, may_be_none=True),
        Parameter("original", Kind.INPUT),
        Parameter("mask", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
        Parameter("seqLens", Kind.INPUT),
        Parameter("scale", Kind.FLOAT),
        Parameter("maskType", Kind.INT, default=CAUSAL),
        Parameter("unitLen", Kind.INT, default=128),
        Parameter("window", Kind.INT, default=0, is_extra=True),
        Parameter("chunk", Kind.INT, default=0, is_extra=True),
        Parameter("softcap", Kind.FLOAT, default=0.0, is_extra=True),
        Parameter("sinks", Kind.WEIGHT, may_be_none=True, may_be_left_out=True, is_extra=True),
    )

    @classmethod
    def reach(cls, attributes: Mapping[str, int | float]) -> Reach:
        """The window and the chunk."""
        return Reach(int(attributes["window"]), int(attributes["chunk"]))

    @staticmethod
    def infer(
        q: TensorType,
        k: TensorType,
        v: TensorType,
        curk: TensorType | None,
        curv: TensorType | None,
        original: TensorType,
        mask: TensorType,
        seqLens: TensorType,
        scale: float,
        maskType: int,
        unitLen: int,
        window: int = 0,
        chunk: int = 0,
        softcap: float = 0.0,
        sinks: TensorType | None = None,
    ) -> TensorType:
        require_queries(q, original, mask, seqLens, maskType, curk=curk, curv=curv)
        keys, values = ("the cache k", "the cache v") if curk is None else ("curk", "curv")
        heads, (kv_heads, key_dim), (value_heads, value_dim) = q.size(2), heads_of(k), heads_of(v)
        if q.size(3) != key_dim:
            raise ShapeError(f"q has heads of {q.size(3)}, but {keys} of {key_dim}", q.size(3), key_dim)
        if kv_heads != value_heads:
            raise ShapeError(f"{keys} has {kv_heads} heads, but {values} has {value_heads}", kv_heads, value_heads)
        if heads % kv_heads:
            raise ShapeError(f"the {kv_heads} heads of {keys} do not divide the {heads} heads of q", heads, kv_heads)
        for number, name in ((window, "window"), (chunk, "chunk"), (softcap, "softcap")):
            if number < 0:
                raise ShapeError(f"{name} must be at least 0 (none), but it is {number:g}")
        if (window or chunk) and maskType != CAUSAL:
            raise ShapeError(f"a window or a chunk needs causal attention, maskType 0, but maskType is {maskType}")
        if sinks is not None:
            require_vector(sinks, "sinks", heads)
        return TensorType((*q.shape[:2], heads * value_dim))

    @staticmethod
    def reference(
        step: StepContext,
        q: Array,
        k: list[SequenceCache],
        v: list[SequenceCache],
        curk: Array | None,
        curv: Array | None,
        original: Array,
        mask: Array,
        seqLens: Array,
        scale: float,
        maskType: int,
        unitLen: int,
        window: int = 0,
        chunk: int = 0,
        softcap: float = 0.0,
        sinks: Array | None = None,
    ) -> Array:
        outputs = []
        first = 0
        for sequence, length in enumerate(seqLens):
            rows = slice(first, first + length)
            keys, values = (
                cache[sequence].read() if new is None else cache[sequence].append(new[0, rows])
                for cache, new in ((k, curk), (v, curv))
            )
            visible = np.ones((length, len(keys)), bool)
            if maskType == CAUSAL:
                visible = visible_keys(len(keys) - length, length, window, chunk)
            outputs.append(attend(q[0, rows], keys, values, scale, visible, softcap, sinks))
            first += length
        return np.concatenate(outputs)[None]

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        query, (_, value_dim) = types["q"], heads_of(types["v"])
        return Work(attended=query.size(2) * (query.size(3) + value_dim))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_attention(node, lowering, (0, 0, 0, 0, 0))


def require_queries(
    q: TensorType,
    original: TensorType,
    mask: TensorType,
    seqLens: TensorType,
    maskType: int,
    **stored: TensorType | None,
) -> None:
    """Raise `ShapeError` unless these may be given to an attention; `stored`: the rows that it appends, by name."""
    for name, type in {"q": q, **stored}.items():
        if type is None:
            continue
        require_activation(type, name, rank=4)
        if type.shape[:2] != (1, Symbol.TOKENS):
            raise ShapeError(f"{name} must begin with [1, tokens]")
    require_activation(original, "original")
    if original.shape[:2] != q.shape[:2]:
        raise ShapeError("original must have the tokens of q")
    if mask.dtype != "marker":
        raise ShapeError('mask must be data["attentionMask"]: masks that a graph computes are not supported')
    if seqLens.shape != (Symbol.SEQUENCES,):
        raise ShapeError('seqLens must be data["seqLens"]')
    if maskType not in (CAUSAL, UNMASKED):
        raise ShapeError(f"maskType must be 0 (causal) or 2 (none), but it is {maskType}")


def heads_of(cache: TensorType) -> tuple[int, int]:
    """How many heads a cache [cached, heads, dim] has, and their size."""
    return cache.size(1), cache.size(2)


def lower_attention(node: LoweredNode, lowering: Lowering, rotation: tuple[int, int, int, int, int]) -> None:
    """Rows that rotate and store, attend to tiles, attend to split single tokens, and merge those.

    `rotation`: pairs of q and of curk to rotate, the tables sin and cos, and the tables' bytes a position. A node that
    stores nothing has no row that does, and nothing to rotate. One without the cache v has values of `vDim` features,
    the first of keys.
    """
    from ftllm_nb.kernels.attention import attend_kernel, scratch_bytes, tile_tokens
    from ftllm_nb.kernels.attention_single import merge_kernel, partial_floats
    from ftllm_nb.kernels.cache_rows import store_kernel
    from ftllm_nb.kernels.latent_single import latent_scratch_bytes, single_kernel

    query = node.inputs["q"]
    heads, (kv_heads, key_dim) = query.type.size(2), heads_of(node.inputs["k"].type)
    are_latent = "v" not in node.inputs
    value_dim = int(node.attributes["vDim"]) if are_latent else heads_of(node.inputs["v"].type)[1]
    cache = lowering.cache(node.inputs["k"])
    q, out = lowering.place(query), lowering.place(node.outputs["output"])
    lowering.need_scratch(scratch_bytes(cache.kind, heads, kv_heads, key_dim, value_dim, are_latent))
    lowering.need_partials(partial_floats(cache.kind, heads, value_dim))
    lowering.need_tiles(tile_tokens(heads, kv_heads))
    if "curk" in node.inputs:
        k = lowering.place(node.inputs["curk"])
        v = Place(0, 0) if are_latent else lowering.place(node.inputs["curv"])
        query_pairs, key_pairs, *tables = rotation
        lowering.add(
            store_kernel(cache.kind), k.address, k.stride, v.address, v.stride, kv_heads, key_dim,
            0 if are_latent else value_dim, cache.keys, cache.values, q.address, q.stride, heads, query_pairs,
            key_pairs, *tables, cache.group,
        )  # fmt: skip
    causal = int(node.attributes["maskType"] == CAUSAL)
    window, chunk, softcap = (node.attributes.get(name, 0) for name in ("window", "chunk", "softcap"))
    sinks = node.inputs.get("sinks")
    shared = (
        q.address, q.stride, out.address, out.stride, heads, kv_heads, key_dim, value_dim, cache.keys, cache.values,
        float(node.attributes["scale"]), causal, int(window), int(chunk), float(softcap),
        0 if sinks is None else lowering.vector([sinks], [heads]), cache.group,
    )  # fmt: skip
    if are_latent:
        lowering.need_scratch(latent_scratch_bytes(cache.kind, heads, kv_heads, key_dim, value_dim))
    split = single_kernel(cache.kind, heads // kv_heads, are_latent)
    for kernel in (attend_kernel(cache.kind, are_latent), split):
        lowering.add(kernel, *shared)
    lowering.add(merge_kernel(cache.kind), *shared, reads=Reads(MERGED_VECTORS * 4 * value_dim))


def visible_keys(start: int, count: int, window: int = 0, chunk: int = 0) -> NDArray[np.bool_]:
    """Which of the first start + count positions the tokens at start … see: [count, start + count], causal."""
    query, key = np.arange(start, start + count)[:, None], np.arange(start + count)
    visible = key <= query
    if window:
        visible &= key > query - window
    if chunk:
        visible &= key // chunk == query // chunk
    return visible


def attend(
    queries: Array,
    keys: Array,
    values: Array,
    scale: float,
    visible: NDArray[np.bool_],
    softcap: float = 0.0,
    sinks: Array | None = None,
) -> Array:
    """Attention of one sequence: [n, heads, dim] on [length, kv heads, dim] to [n, heads · v dim].

    `visible` [n, length]: the keys that each query sees; `softcap` and `sinks` as FusedAttention has them.
    """
    count, heads = queries.shape[:2]
    kv_heads = keys.shape[1]
    keys, values = (np.repeat(cached, heads // kv_heads, axis=1) for cached in (keys, values))
    scores = np.matmul(queries.transpose(1, 0, 2), keys.transpose(1, 2, 0)) * np.float32(scale)
    if softcap:
        scores = np.float32(softcap) * np.tanh(scores / np.float32(softcap))
    scores = np.where(visible, scores, np.float32(-np.inf))
    largest = scores.max(axis=-1, keepdims=True)
    sink = np.full((heads, 1, 1), -np.inf, np.float32) if sinks is None else sinks[:, None, None]
    largest = np.maximum(largest, sink)
    weights = np.exp(scores - largest)
    weights /= weights.sum(axis=-1, keepdims=True) + np.exp(sink - largest)
    return np.asarray(np.matmul(weights, values.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(count, -1))
