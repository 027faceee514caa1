"""GPT-2: learned positions, LayerNorm, matrices that are stored as [in, out]."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.blocks import LayerNormedDecoder, Names
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole

POSITIONS = 1024
"""How many there are, where the config does not say."""


class GPT2Model(LayerNormedDecoder):
    """The graph of `GPT2LMHeadModel`."""

    prefix = "transformer."
    names = Names(
        embedding="wte",
        layers="h",
        norm="ln_f",
        attention="attn",
        out="c_proj",
        up="c_fc",
        down="c_proj",
        before_attention="ln_1",
        before_feed_forward="ln_2",
    )
    entry_names: ClassVar = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "hidden_act": "activation_function",
    }
    eps_entry = "layer_norm_epsilon"
    default_activation = "gelu_new"
    is_gated = False
    groups_heads = False
    ties_by_default = True
    stores_transposed = True

    @property
    def qkv_bias(self) -> bool:
        """Always, as all projections."""
        return True

    @property
    def mlp_bias(self) -> bool:
        """Always."""
        return True

    @property
    def scale(self) -> float:
        """By the size of a head, and less from layer to layer, as the config says."""
        scale = super().scale if flag(self.config, "scale_attn_weights", True) else 1.0
        return scale / (self.number + 1) if flag(self.config, "scale_attn_by_inverse_layer_idx", False) else scale

    def rotates(self, number: int) -> bool:
        """Positions are added to the embeddings."""
        return False

    def check_config(self) -> None:
        """Feed-forwards are four times as wide, where the config does not say; there is no encoder to attend to. Where
        matrices come from GGUF or `ftllm-nb quantize` they lie the usual way, which stores_transposed says."""
        self.stores_transposed = flag(self.config, "stores_transposed", True)
        self.config["max_position_embeddings"] = whole(self.config, "max_position_embeddings", POSITIONS)
        self.config["intermediate_size"] = whole(self.config, "n_inner", 4 * self.hidden_size)
        if flag(self.config, "add_cross_attention", False):
            raise GraphError(f"config.json's add_cross_attention is {shown(True)}, but there is no encoder here.")
        super().check_config()

    def embed(self) -> None:
        """Those of tokens and of positions."""
        super().embed()
        name = f"{self.prefix}wpe.weight"
        self._shapes[name] = (self.config["max_position_embeddings"], self.hidden_size)
        self.Embedding(self.data["positionIds"], self.weight[name], self.data["places"])
        self.AddTo(self.data["hidden"], self.data["places"])

    def project_heads(self, at: str, source: str) -> None:
        """q, k and v are one matrix."""
        self.project_fused_heads(f"{at}c_attn", source)


__model__ = GPT2Model
