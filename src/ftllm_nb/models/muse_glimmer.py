"""Muse Glimmer: gates on attention, norms around each branch, layers that see everything and do not turn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from ftllm_nb.blocks import Decoder, Names, SlidingDecoder, TextPart, turning_layers
from ftllm_nb.graph.config_entries import positive_or
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds


class MuseGlimmerTextModel(SlidingDecoder):
    """The text part."""

    norm_offset = 1.0
    default_eps = 1e-5
    window = 2048
    names = Names(
        after_attention="post_attention_layernorm",
        before_feed_forward="pre_feedforward_layernorm", after_feed_forward="post_feedforward_layernorm",
    )  # fmt: skip

    @property
    def head_dim(self) -> int:
        """128 where the config does not say."""
        return 128 if "head_dim" not in self.config else super().head_dim

    @property
    def scale(self) -> float:
        """Times qk_scale_factor."""
        return super().scale * positive_or(self.config, "qk_scale_factor", 3.87)

    @cached_property
    def kinds(self) -> list[str]:
        """Every fourth from the last on is full, where layer_types is absent."""
        last = self.num_layers - 1
        return layer_kinds(self.config) or [SLIDING if (last - i) % 4 else FULL for i in range(self.num_layers)]

    def rotates(self, number: int) -> bool:
        """Not where layer_rope_theta has a 0; without the list, not in every fourth from the last on."""
        if self.config.get("layer_rope_theta") is None:
            return (self.num_layers - 1 - number) % 4 != 0
        return turning_layers(self, "layer_rope_theta")[number]

    def embed(self) -> None:
        """Normalized."""
        super().embed()
        self.RMSNorm(self.data["hidden"], None, self.eps, self.data["hidden"])

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized without weights, then turned."""
        for name in ("q", "k"):
            self.RMSNorm(self.data[name], None, self.eps, self.data[name])
        self.rotate(number, "q", "k")

    def attention(self, number: int, at: str, source: str, target: str) -> None:
        """What is attended is multiplied by a gate of the source."""
        self.project_heads(at, source)
        self.turn_heads(number, at)
        self.linear(source, f"{at}gate_proj", self.heads * self.head_dim, "gate")
        self.Sigmoid(self.data["gate"], self.data["gate"])
        self.attend(number, at, "attended")
        self.MulTo(self.data["attended"], self.data["gate"])
        self.linear("attended", f"{at}{self.names.out}", self.hidden_size, target, self.out_bias)

    def norm(self, source: str, at: str, target: str) -> None:
        """Those after a branch have an eps of their own, the last one no offset."""
        name = at.rpartition(".")[2]
        is_after = name in (self.names.after_attention, self.names.after_feed_forward)
        eps = positive_or(self.config, "post_norm_eps", 1e-8) if is_after else self.eps
        self._shapes[f"{at}.weight"] = (self._sizes[source],)
        offset = 0.0 if name == self.names.norm else self.norm_offset
        self.RMSNorm(self.data[source], self.weight[f"{at}.weight"], eps, self.data[target], offset)
        self._sizes[target] = self._sizes[source]

    def finish_logits(self) -> None:
        """Scaled, then capped."""
        logits = self.data["logits"]
        self.Mul(logits, positive_or(self.config, "output_multiplier", 0.19611613513818404), logits)
        self.SoftCap(logits, positive_or(self.config, "final_logit_softcapping", 20.0), logits)


class MuseGlimmerFolder(TextPart):
    """The text part of `MuseGlimmerForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"muse_glimmer_text": MuseGlimmerTextModel}


__model__ = MuseGlimmerFolder
