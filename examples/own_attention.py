"""A model file with an attention of its own, in NumPy alone: it reads and writes the engine's KV cache.

    ftllm-nb chat --custom examples/own_attention.py

Change what it does with the scores: a bias by distance, another softmax. Slow, but right at once.
"""

import numpy as np
from ftllm.llm import ComputeGraph

from ftllm_nb.extend import Kind, Operator, Parameter, ShapeError


class Attention(Operator):
    """output = softmax(q · Kᵀ · scale) · V over all positions up to each token's own."""

    parameters = (
        Parameter("q", Kind.INPUT),
        Parameter("keys", Kind.CACHE, holds="k"),
        Parameter("values", Kind.CACHE, holds="v"),
        Parameter("k", Kind.INPUT),
        Parameter("v", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
        Parameter("scale", Kind.FLOAT),
    )

    @staticmethod
    def infer(q, keys, values, k, v, scale):
        """q, k and v are [1, tokens, heads, headDim]; several heads of q may share one of k and v."""
        if q.size(2) % k.size(2):
            raise ShapeError("the heads of k must divide those of q", q.size(2), k.size(2))
        return q.with_shape(*q.shape[:2], q.size(2) * v.size(3))

    @staticmethod
    def reference(step, q, keys, values, k, v, scale):
        """`step.rows`: each sequence's tokens among those of the step; `append` gives all that is cached."""
        outputs = []
        for sequence, rows in enumerate(step.rows):
            queries = q[0, rows]
            shared = queries.shape[1] // k.shape[2]
            past_keys = keys[sequence].append(k[0, rows]).repeat(shared, axis=1)
            past_values = values[sequence].append(v[0, rows]).repeat(shared, axis=1)
            scores = np.einsum("qhd,khd->hqk", queries, past_keys) * scale
            count, length = len(queries), len(past_keys)
            is_later = np.arange(length) > np.arange(length - count, length)[:, None]
            scores[:, is_later] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            outputs.append(np.einsum("hqk,khd->qhd", weights, past_values).reshape(count, -1))
        return np.concatenate(outputs)[None]


class OwnAttentionModel(ComputeGraph):
    """Qwen2 with `self.Attention(…)` where other files call FusedAttention."""

    operators = (Attention,)

    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        eps = config["rms_norm_eps"]

        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"])
            for name in "qkv":
                self.linear(data["input"], layer[f".self_attn.{name}_proj"], data[name])
                self.ExpandHead(data[name], head_dim)
            for name in "qk":
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.Attention(data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"],
                           data["attention"], head_dim ** -0.5)
            self.linear(data["attention"], layer[".self_attn.o_proj"], data["output"])
            self.AddTo(data["hidden"], data["output"])

            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"])
            for name in ("gate", "up"):
                self.linear(data["input"], layer[f".mlp.{name}_proj"], data[name])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.linear(data["gate"], layer[".mlp.down_proj"], data["output"])
            self.AddTo(data["hidden"], data["output"])

        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.linear(data["last"], weight["lm_head"], data["logits"])

    def linear(self, source, layer, target):
        """A Linear whose tensors have the usual names; a bias that the checkpoint lacks is none."""
        self.Linear(source, layer[".weight"], layer[".bias"], target)


__model__ = OwnAttentionModel
