"""RecurrentGatedDeltaRule: a matrix of each head, in which each token corrects what is stored under its key.

Yang, Kautz and Hatamizadeh, Gated Delta Networks, arXiv 2412.06464; with a decay of each channel, Kimi Linear, arXiv
2510.26692.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, Work, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Place, features
from ftllm_nb.ops.recurrences import lower_recurrence, require_of_heads, require_recurrent_heads, state_shape


class RecurrentGatedDeltaRule(Operator):
    """S ← e^g S; S ← S + k (b · (v − Sᵀk))ᵀ; core_attn_out = qScale · Sᵀq, token by token, S a state of each head.

    q, k: [1, tokens, key heads, dk], v: [1, tokens, heads, dv]; value head i uses key head ⌊i · key heads / heads⌋.
    g, the logarithm of the decay, is [1, tokens, heads], or [1, tokens, heads, dk] where each channel has its own; b is
    [1, tokens, heads]. fastllm's takes one token at a time, heads before tokens.
    """

    parameters = (
        Parameter("q", Kind.INPUT),
        Parameter("k", Kind.INPUT),
        Parameter("v", Kind.INPUT),
        Parameter("g", Kind.INPUT, decays=True),
        Parameter("b", Kind.INPUT, decays=True),
        Parameter("last_recurrent_state", Kind.STATE, may_be_half=True),
        Parameter("core_attn_out", Kind.OUTPUT),
        Parameter("qScale", Kind.FLOAT, default=1.0),
    )

    @staticmethod
    def state(
        q: TensorType, k: TensorType, v: TensorType, g: TensorType, b: TensorType, qScale: float = 1.0
    ) -> tuple[int, ...]:
        _, key_dim, heads, value_dim = require_recurrent_heads({"q": q, "k": k, "v": v})
        return state_shape(heads, key_dim, value_dim)

    @staticmethod
    def infer(
        q: TensorType,
        k: TensorType,
        v: TensorType,
        g: TensorType,
        b: TensorType,
        last_recurrent_state: TensorType,
        qScale: float = 1.0,
    ) -> TensorType:
        require_of_heads(b, "b", v)
        if g.rank != 4:
            require_of_heads(g, "g", v)
        else:
            require_activation(g, "g")
            if g.shape != (*v.shape[:3], k.shape[3]):
                raise ShapeError("g must be [1, tokens, heads], or have a number for each channel of k", *g.shape)
        return v

    @staticmethod
    def reference(
        step: StepContext,
        q: Array,
        k: Array,
        v: Array,
        g: Array,
        b: Array,
        last_recurrent_state: list[Array],
        qScale: float = 1.0,
    ) -> Array:
        repeats, value_dim = v.shape[2] // k.shape[2], v.shape[3]
        queries, keys = (np.repeat(each[0], repeats, axis=1) for each in (q, k))
        output = np.zeros_like(v)
        for state, rows in zip(last_recurrent_state, step.rows, strict=True):
            for token in range(rows.start, rows.stop):
                decay = np.exp(g[0, token])
                now = state[..., :value_dim] * (decay[:, None, None] if decay.ndim == 1 else decay[:, :, None])
                known = np.einsum("hkv,hk->hv", now, keys[token])
                delta = b[0, token][:, None] * (v[0, token] - known)
                now += keys[token][:, :, None] * delta[:, None, :]
                state[..., :value_dim] = now
                output[0, token] = np.einsum("hkv,hk->hv", now, queries[token])
        return output * np.float32(qScale)

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        """For each number of the states a decay, then a multiply-add each for Sᵀk, for the sum and for Sᵀq."""
        value = types["v"]
        return Work(recurrent=7 * value.size(2) * types["k"].size(3) * value.size(3))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import exp_each
        from ftllm_nb.kernels.recurrence import gated_delta_rule, gated_delta_rule_by_channel

        inputs = node.inputs
        logs, width = inputs["g"], features(inputs["g"])
        read, stride = lowering.place(logs), -(-width // 16) * 64
        decays = Place(lowering.temporary("decays", stride * lowering.most_tokens), stride)
        lowering.add(
            exp_each, read.address, read.stride, read.address, read.stride, decays.address, decays.stride, width,
            lowering.count(logs), 1.0,
        )  # fmt: skip
        rates = lowering.place(inputs["b"])
        lower_recurrence(
            lowering, gated_delta_rule if logs.type.rank == 3 else gated_delta_rule_by_channel,
            inputs["q"], inputs["k"], inputs["v"], (decays.address, decays.stride), (rates.address, rates.stride),
            node.outputs["core_attn_out"], inputs["last_recurrent_state"], float(node.attributes["qScale"]),
        )  # fmt: skip
