"""Phi-3.5-MoE: LayerNorm, longrope, and a sparse mixer that weighs two experts by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ftllm_nb.blocks import RAW, LayerNormedDecoder, MixtureDecoder
from ftllm_nb.graph.config_entries import flag, positive_or
from ftllm_nb.models.mistral import MistralModel
from ftllm_nb.ops.select_expert import NORM_MIXER


class PhiMoeModel(MixtureDecoder, LayerNormedDecoder, MistralModel):
    """The graph of `PhimoeForCausalLM`."""

    names = replace(MistralModel.names, feed_forward="block_sparse_moe")
    eps_entry = "rms_norm_eps"
    expert_parts = ("w1", "w3", "w2")
    expert_entry = "intermediate_size"
    scores = RAW
    normalizes = NORM_MIXER

    @property
    def routing(self) -> dict[str, Any]:
        """How far below a chosen one others still count."""
        return {"jitter": positive_or(self.config, "router_jitter_noise", 0.01)}

    def finish_logits(self) -> None:
        """A bias was added to them, where lm_head_bias says so."""
        if flag(self.config, "lm_head_bias", False):
            self._shapes[f"{self.names.head}.bias"] = (int(self.config["vocab_size"]),)


__model__ = PhiMoeModel
