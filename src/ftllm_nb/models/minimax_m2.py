"""MiniMax M2: norms of whole queries and keys, a part of each head turns, experts are chosen by corrected sigmoids."""

from __future__ import annotations

from ftllm_nb.blocks import SIGMOID, MixtureDecoder, Names
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.models.olmo2 import Olmo2Model


class MiniMaxM2Model(MixtureDecoder, Olmo2Model):
    """The graph of `MiniMaxM2ForCausalLM`."""

    names = Names(feed_forward="block_sparse_moe")
    expert_parts = ("w1", "w3", "w2")
    expert_entry = "intermediate_size"
    scores = SIGMOID
    correction = "e_score_correction_bias"

    def check_config(self) -> None:
        """rotary_dim says how much of a head turns; queries and keys are always normalized."""
        if self.config.get("rotary_dim") is not None and self.config.get("partial_rotary_factor") is None:
            self.config["partial_rotary_factor"] = whole(self.config, "rotary_dim", 0) / self.head_dim
        flag(self.config, "use_qk_norm", True)
        super().check_config()


__model__ = MiniMaxM2Model
