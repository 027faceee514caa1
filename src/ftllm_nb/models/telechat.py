"""TeleChat 1 and 2: keys and values of one head side by side, a base of rotations that grows with the context."""

from __future__ import annotations

import math
from typing import ClassVar

from ftllm_nb.blocks import Decoder, Names
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive

BASE_CONTEXT = 4096
"""The context before it was stretched, where the config does not say."""


class TelechatModel(Decoder):
    """The graph of `TelechatForCausalLM` and `TeleChat2ForCausalLM`."""

    prefix = "transformer."
    names = Names(embedding="word_embeddings", layers="h", norm="ln_f", attention="self_attention", out="dense")
    entry_names: ClassVar = {
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "ffn_hidden_size",
        "rms_norm_eps": "layer_norm_epsilon",
        "max_position_embeddings": "training_seqlen",
    }
    ties_by_default = True

    @property
    def out_bias(self) -> bool:
        """Always."""
        return True

    @property
    def down_bias(self) -> bool:
        """Always."""
        return True

    def check_config(self) -> None:
        """The base of rotations grows with the context that the model was trained for."""
        for entry in ("apply_residual_connection_post_layernorm", "embed_layernorm"):
            if flag(self.config, entry, False):
                raise GraphError(f"config.json's {entry} is {shown(True)}, which this architecture does not have here.")
        if self.config.get("hidden_act") == "fastgelu":
            self.config["hidden_act"] = "silu"  # what the model's own code computes, whatever its config says
        if self.config.get("training_seqlen") is not None and self.head_dim > 2:
            base = BASE_CONTEXT if self.config.get("base_seqlen") is None else positive(self.config, "base_seqlen")
            stretch = math.log2(positive(self.config, "training_seqlen") / base)
            alpha = max(2.0 ** math.ceil(stretch + 1) - 1, 1.0)
            self.config["rope_theta"] = 10000.0 * alpha ** (self.head_dim / (self.head_dim - 2))
        super().check_config()

    def project_heads(self, at: str, source: str) -> None:
        """k and v of one head lie side by side, then those of the next."""
        self.linear(source, f"{at}query", self.heads * self.head_dim, "q")
        self.ExpandHead(self.data["q"], self.head_dim)
        self.linear(source, f"{at}key_value", 2 * self.kv_heads * self.head_dim, "kv")
        self.split_heads("kv", k=self.head_dim, v=self.head_dim)


__model__ = TelechatModel
