"""LatentAttention: attention to a cache of one vector a token, which is key and value at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, SequenceCache, StepContext, Work
from ftllm_nb.ops.fused_attention import CAUSAL, attend, lower_attention, require_queries, visible_keys
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class LatentAttention(Operator):
    """Append curk to the cache k; output = softmax(q · Kᵀ · scale) · K[…, : vDim], of original's tokens.

    q [1, tokens, heads, dim], curk [1, tokens, kv heads, dim], of which the first vDim features are the value; output
    [1, tokens, heads · vDim]. Head h of q reads kv head h // (heads / kv heads). maskType 0: causal, 2: a token sees
    all that is cached. unitLen: a hint. Where curk is None, k is the cache of an earlier layer.

    Multi-head latent attention (DeepSeek-V2, 2024) in the form in which queries and results, not keys and values, are
    multiplied by the matrix that makes keys and values of the latent vector: see LinearPerHead. fastllm's MergeMLA
    does the same to caches that the graph appends to.
    """

    parameters = (
        Parameter("q", Kind.INPUT),
        Parameter("k", Kind.CACHE, holds="curk"),
        Parameter("curk", Kind.INPUT, may_be_none=True),
        Parameter("original", Kind.INPUT),
        Parameter("mask", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
        Parameter("seqLens", Kind.INPUT),
        Parameter("scale", Kind.FLOAT),
        Parameter("vDim", Kind.INT),
        Parameter("maskType", Kind.INT, default=CAUSAL),
        Parameter("unitLen", Kind.INT, default=128),
    )

    @staticmethod
    def infer(
        q: TensorType,
        k: TensorType,
        curk: TensorType | None,
        original: TensorType,
        mask: TensorType,
        seqLens: TensorType,
        scale: float,
        vDim: int,
        maskType: int,
        unitLen: int,
    ) -> TensorType:
        """[1, tokens, heads · vDim]."""
        require_queries(q, original, mask, seqLens, maskType, curk=curk)
        heads, kv_heads, dim = q.size(2), k.size(1), k.size(2)
        source = "the cache k" if curk is None else "curk"
        if q.size(3) != dim:
            raise ShapeError(f"q has heads of {q.size(3)}, but {source} of {dim}", q.size(3), dim)
        if heads % kv_heads:
            raise ShapeError(f"the {kv_heads} heads of {source} do not divide the {heads} heads of q", heads, kv_heads)
        if not 0 < vDim <= dim:
            raise ShapeError(f"vDim must be at least 1 and at most the {dim} features of a key, but it is {vDim}")
        return TensorType((*q.shape[:2], heads * vDim))

    @staticmethod
    def reference(
        step: StepContext,
        q: Array,
        k: list[SequenceCache],
        curk: Array | None,
        original: Array,
        mask: Array,
        seqLens: Array,
        scale: float,
        vDim: int,
        maskType: int,
        unitLen: int,
    ) -> Array:
        """Sequence by sequence."""
        outputs = []
        for cache, rows in zip(k, step.rows, strict=True):
            keys = cache.read() if curk is None else cache.append(curk[0, rows])
            queries = q[0, rows]
            visible = np.ones((len(queries), len(keys)), bool)
            if maskType == CAUSAL:
                visible = visible_keys(len(keys) - len(queries), len(queries))
            outputs.append(attend(queries, keys, keys[..., :vDim], scale, visible))
        return np.concatenate(outputs)[None]

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        """As many numbers of keys, and of values, as heads have."""
        query = types["q"]
        return Work(attended=query.size(2) * (query.size(3) + int(types["vDim"])))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """The rows of FusedAttention, without values to store."""
        lower_attention(node, lowering, (0, 0, 0, 0, 0))
