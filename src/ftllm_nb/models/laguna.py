"""Laguna (Poolside): gates of attention, heads by layer, experts chosen by corrected sigmoids."""

from __future__ import annotations

from typing import Any

from ftllm_nb.blocks import GroupedMixtureDecoder, SlidingDecoder, listed
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive_or, whole
from ftllm_nb.graph.layer_kinds import FULL, SLIDING
from ftllm_nb.ops.select_expert import NORM_SUM

_ROPE: dict[str, dict[str, Any]] = {
    FULL: {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5},
    SLIDING: {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0},
}
"""rope_parameters where the config has none."""
_PER_HEAD, _PER_ELEMENT = (True, "per-head"), ("per-element",)


class LagunaModel(SlidingDecoder, GroupedMixtureDecoder):
    """The graph of `LagunaForCausalLM`."""

    first_mixture = 1
    shared = "shared_expert"
    shared_entry = ("shared_expert_intermediate_size", 512)
    normalizes = NORM_SUM
    default_head_dim = 128
    head_norms = ("q_norm", "k_norm")
    window = 512
    correction = "experts.e_score_correction_bias"

    @property
    def heads(self) -> int:
        """Of the layer at hand."""
        if self.config.get("num_attention_heads_per_layer") is None:
            return super().heads
        heads = {"num_attention_heads_per_layer": listed(self, "num_attention_heads_per_layer")[self.number]}
        return whole(heads, "num_attention_heads_per_layer", 0)

    @property
    def routing(self) -> dict[str, Any]:
        """What all experts' sum is multiplied by."""
        return {"routeScale": positive_or(self.config, "moe_routed_scaling_factor", 1.0)}

    def check_config(self) -> None:
        """Gates are of heads or of their numbers; weights multiply what experts give."""
        gating = self.config.get("gating", True)
        if gating not in (*_PER_HEAD, *_PER_ELEMENT):
            raise GraphError(f'config.json\'s gating must be true, "per-head" or "per-element", not {shown(gating)}.')
        if flag(self.config, "moe_apply_router_weight_on_input", False):
            raise GraphError("config.json's moe_apply_router_weight_on_input is true, which is not computed here.")
        if self.config.get("rope_parameters") is None:
            self.config["rope_parameters"] = {kind: dict(_ROPE[kind]) for kind in set(self.kinds) & {*_ROPE}}
        super().check_config()

    def project_heads(self, at: str, source: str) -> None:
        """Besides, the gate of what is attended [1, tokens, heads, 1 or head_dim]."""
        super().project_heads(at, source)
        size = 1 if self.config.get("gating", True) in _PER_HEAD else self.head_dim
        self.linear(source, f"{at}g_proj", self.heads * size, "gate")
        self.Softplus(self.data["gate"], self.data["gate"])
        self.ExpandHead(self.data["gate"], size)

    def attend(self, number: int, at: str, target: str) -> None:
        """What is attended is multiplied by its gate, one for each head or each of its numbers."""
        super().attend(number, at, target)
        self.ExpandHead(self.data[target], self.head_dim)
        self.MulTo(self.data[target], self.data["gate"])
        self.Flatten(self.data[target])

    def make_scores(self) -> None:
        """Sigmoids of the router's products, which may be capped."""
        cap = self.config.get("moe_router_logit_softcapping")
        if cap:
            cap = positive_or(self.config, "moe_router_logit_softcapping", 0.0)
            self.SoftCap(self.data["scores"], cap, self.data["scores"])
        super().make_scores()


__model__ = LagunaModel
