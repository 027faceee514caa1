"""GPT-NeoX and Pythia: LayerNorm, parallel branches, a quarter of each head turns."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.blocks import LayerNormedDecoder, Names
from ftllm_nb.graph.config_entries import flag


class GPTNeoXModel(LayerNormedDecoder):
    """The graph of `GPTNeoXForCausalLM`."""

    prefix = "gpt_neox."
    names = Names(
        embedding="embed_in",
        norm="final_layer_norm",
        head="embed_out",
        attention="attention",
        out="dense",
        up="dense_h_to_4h",
        down="dense_4h_to_h",
    )
    entry_names: ClassVar = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
    turning_part = 0.25
    default_activation = "gelu"
    is_gated = False
    groups_heads = False

    @property
    def qkv_bias(self) -> bool:
        """Unless the config says otherwise."""
        return flag(self.config, "attention_bias", True)

    @property
    def mlp_bias(self) -> bool:
        """Always."""
        return True

    @property
    def is_parallel(self) -> bool:
        """Unless the config says otherwise."""
        return flag(self.config, "use_parallel_residual", True)

    def project_heads(self, at: str, source: str) -> None:
        """q, k and v of one head lie side by side, then those of the next."""
        self.linear(source, f"{at}query_key_value", 3 * self.heads * self.head_dim, "qkv", self.qkv_bias)
        self.split_heads("qkv", **dict.fromkeys("qkv", self.head_dim))


__model__ = GPTNeoXModel
