"""Nemotron 3, of whose layers some are mixtures of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architectures.nemotron_h import NemotronH
from ftllm_nb.checkpoint.gguf.mixture import group_entries
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel, WayOut

_AT = "backbone.layers.*.mixer"


class NemotronHMoe(NemotronH):
    """llama.cpp's `nemotron_h_moe`."""

    writes = ("nemotron_h",)
    file_architecture = "nemotron_h_moe"
    inner_kind = "moe"
    names: ClassVar = NemotronH.names | {
        "blk.*.ffn_gate_inp": f"{_AT}.gate",
        "blk.*.exp_probs_b.bias": f"{_AT}.gate.e_score_correction_bias",
        **{f"blk.*.ffn_{part}_exps": f"{_AT}.experts.{part}_proj" for part in ("up", "down")},
        **{f"blk.*.ffn_{part}_shexp": f"{_AT}.shared_experts.{part}_proj" for part in ("up", "down")},
        "blk.*.ffn_latent_down": f"{_AT}.fc1_latent_proj",
        "blk.*.ffn_latent_up": f"{_AT}.fc2_latent_proj",
    }

    def config(self) -> dict[str, Any]:
        """With the numbers of experts."""
        config, whole = super().config(), self.metadata.whole
        return config | {
            "n_routed_experts": whole("expert_count"),
            "num_experts_per_tok": whole("expert_used_count"),
            "moe_intermediate_size": whole("expert_feed_forward_length"),
            "n_shared_experts": whole("expert_shared_count", 1, least=0),
            "moe_shared_expert_intermediate_size": whole("expert_shared_feed_forward_length"),
            "moe_latent_size": whole("moe_latent_size", 0, least=0) or None,
            "norm_topk_prob": self.metadata.flag("expert_weights_norm", False),
            "routed_scaling_factor": self.metadata.real("expert_weights_scale", 0.0) or 1.0,
            "n_group": whole("expert_group_count", 1, least=0) or 1,
            "topk_group": whole("expert_group_used_count", 1, least=0) or 1,
        }

    @classmethod
    def of_model(cls, config: Mapping[str, Any]) -> type[WayOut]:
        """Without experts it is the other architecture."""
        return cls if "moe" in config["layer_types"] else NemotronH

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the numbers of experts."""
        stack, shared = (cls.shape_of(model, f"ffn_up_{kind}.weight") for kind in ("exps", "shexp"))
        assert stack is not None
        found = super().entries(model) | group_entries(model) | {
            "expert_count": stack[0],
            "expert_used_count": model.picks,
            "expert_feed_forward_length": stack[1],
            "expert_shared_feed_forward_length": shared[0] if shared else 0,
        }  # fmt: skip
        latent = cls.shape_of(model, "ffn_latent_down.weight")
        return found if latent is None else {**found, "moe_latent_size": latent[0]}


ARCHITECTURE = NemotronHMoe
