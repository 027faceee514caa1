"""What Gemma 4's 26B-A4B has besides: experts beside the feed-forward, with norms and scales of their own."""

from __future__ import annotations

from typing import Any

from ftllm_nb.blocks.mixture import MixtureDecoder
from ftllm_nb.graph.config_entries import flag


class EdgeMixtureDecoder(MixtureDecoder):
    """A `MixtureDecoder` in which each layer has both, if enable_moe_block says so."""

    router = "router.proj"
    is_stacked = True

    def is_mixture(self, number: int) -> bool:
        """None is one instead of a feed-forward."""
        return False

    @property
    def picks(self) -> int:
        """top_k_experts."""
        return self.size("top_k_experts")

    @property
    def routing(self) -> dict[str, Any]:
        """Each expert's weight has a scale."""
        name = f"{self.prefix}{self.names.layers}.{self.number}.router.per_expert_scale"
        return {"expertScale": self.vector(name, self.num_experts)}

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """The feed-forward of the source, and the mixture of what the layer's norm has read; each normalized."""
        super().feed_forward(at, source, target)
        if not flag(self.config, "enable_moe_block", False):
            return
        at = at.removesuffix(f"{self.names.feed_forward}.")
        self.norm(target, f"{at}post_feedforward_layernorm_1", target)
        self.route(at, "hidden")
        self.norm("hidden", f"{at}pre_feedforward_layernorm_2", "z")
        self.merge_experts(at, "z", "mixed")
        self.norm("mixed", f"{at}post_feedforward_layernorm_2", "mixed")
        self.AddTo(self.data[target], self.data["mixed"])

    def route(self, at: str, source: str) -> None:
        """Of the normalized source, scaled."""
        scale = self.vector(f"{at}router.scale", self.hidden_size) * self.hidden_size**-0.5
        self.RMSNorm(self.data[source], scale, self.eps, self.data["routed"])
        self._sizes["routed"] = self.hidden_size
        super().route(at, "routed")
