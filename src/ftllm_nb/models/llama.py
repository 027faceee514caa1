"""Llama 1 to 3.2 and models of its form: grouped-query attention, gated feed-forward layers."""

from __future__ import annotations

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.config_entries import flag, positive
from ftllm_nb.graph.layer_kinds import SLIDING, end_context_at_windows, layer_kinds
from ftllm_nb.graph.rope import named_rope_settings


class LlamaModel(ComputeGraph):
    """The graph of `LlamaForCausalLM`."""

    def build(self) -> None:
        """Embedding, the decoder's layers, norm, and the logits of each sequence's last token."""
        weight, data, config = self.weight, self.data, self.config
        if config.get("hidden_act", "silu") != "silu":
            raise GraphError(
                f"this architecture's hidden_act is silu, but config.json has {shown(config['hidden_act'])}."
            )
        eps = positive(config, "rms_norm_eps") if "rms_norm_eps" in config else 1e-6
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        self._check_rotation(head_dim)
        end_context_at_windows(self, self.windows())

        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        self.DataTypeAs(data["hidden"], data["atype"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]

            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["x"])
            for name in ("q", "k", "v"):
                projection = layer[f".self_attn.{name}_proj"]
                self.Linear(data["x"], projection[".weight"], projection[".bias"], data[name])
            for name in ("q", "k", "v"):
                self.ExpandHead(data[name], head_dim)
            for name in ("q", "k"):
                self.LlamaRotatePosition2D(
                    data[name], data["positionIds"], data["sin"], data["cos"], head_dim
                )
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"],
                data["x"], data["attentionMask"], data["attended"], data["seqLens"], head_dim**-0.5,
            )  # fmt: skip
            output = layer[".self_attn.o_proj"]
            self.Linear(data["attended"], output[".weight"], output[".bias"], data["x"])
            self.AddTo(data["hidden"], data["x"])

            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["x"])
            self.Linear(data["x"], layer[".mlp.gate_proj.weight"], layer[".mlp.gate_proj.bias"], data["gate"])
            self.Linear(data["x"], layer[".mlp.up_proj.weight"], layer[".mlp.up_proj.bias"], data["up"])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.Linear(data["gate"], layer[".mlp.down_proj.weight"], layer[".mlp.down_proj.bias"], data["x"])
            self.AddTo(data["hidden"], data["x"])

        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.Linear(data["last"], weight["lm_head.weight"], weight["lm_head.bias"], data["logits"])

    def windows(self) -> list[int | None]:
        """How many positions each layer sees, itself included; None for all."""
        config = self.config
        if SLIDING in (layer_kinds(config) or ()) or config.get("sliding_window") is not None:
            self.notes.append(
                "config.json has entries of sliding windows, which this architecture does not have: every layer sees "
                "everything, as in transformers."
            )
        return [None] * config["num_hidden_layers"]

    def _check_rotation(self, head_dim: int) -> None:
        for table in named_rope_settings(self.config, positions=1).values():
            if table.dim != head_dim:
                raise GraphError(
                    f"this architecture rotates whole heads, of {head_dim} numbers, but config.json's "
                    f"partial_rotary_factor leaves {table.dim} of them."
                )

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a checkpoint of this config."""
        config = self.config
        hidden, feed_forward, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
        heads = config["num_attention_heads"]
        kv_heads = config.get("num_key_value_heads") or heads
        head_dim = config.get("head_dim") or hidden // heads
        q_rows, kv_rows = heads * head_dim, kv_heads * head_dim
        attention_bias, mlp_bias = flag(config, "attention_bias", False), flag(config, "mlp_bias", False)

        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
        for i in range(config["num_hidden_layers"]):
            layer = f"model.layers.{i}"
            for name, size, has_bias in (
                ("self_attn.q_proj", (q_rows, hidden), attention_bias),
                ("self_attn.k_proj", (kv_rows, hidden), attention_bias),
                ("self_attn.v_proj", (kv_rows, hidden), attention_bias),
                ("self_attn.o_proj", (hidden, q_rows), attention_bias),
                ("mlp.gate_proj", (feed_forward, hidden), mlp_bias),
                ("mlp.up_proj", (feed_forward, hidden), mlp_bias),
                ("mlp.down_proj", (hidden, feed_forward), mlp_bias),
            ):
                shapes[f"{layer}.{name}.weight"] = size
                if has_bias:
                    shapes[f"{layer}.{name}.bias"] = size[:1]
            shapes[f"{layer}.input_layernorm.weight"] = (hidden,)
            shapes[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        shapes["model.norm.weight"] = (hidden,)
        if not flag(config, "tie_word_embeddings", False):
            shapes["lm_head.weight"] = (vocab, hidden)
        return shapes


__model__ = LlamaModel
