"""Gemma 2: Gemma with norms around each branch, windows in every second layer, and softcaps."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import Names, SlidingDecoder
from ftllm_nb.graph.config_entries import positive
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.models.gemma import GemmaModel


class Gemma2Model(SlidingDecoder, GemmaModel):
    """The graph of `Gemma2ForCausalLM`."""

    names = Names(
        after_attention="post_attention_layernorm",
        before_feed_forward="pre_feedforward_layernorm",
        after_feed_forward="post_feedforward_layernorm",
    )

    @property
    def scale(self) -> float:
        """The root of query_pre_attn_scalar, which need not be the size of a head."""
        return float(positive(self.config, "query_pre_attn_scalar") ** -0.5)

    @property
    def softcap(self) -> float:
        """Of the scores."""
        capped = self.config.get("attn_logit_softcapping") is not None
        return positive(self.config, "attn_logit_softcapping") if capped else 0.0

    @cached_property
    def kinds(self) -> list[str]:
        """Sliding and full in turns, where layer_types is absent."""
        return layer_kinds(self.config) or [SLIDING if i % 2 == 0 else FULL for i in range(self.num_layers)]

    def finish_logits(self) -> None:
        """Capped, where the config says so."""
        if self.config.get("final_logit_softcapping") is not None:
            self.SoftCap(self.data["logits"], positive(self.config, "final_logit_softcapping"), self.data["logits"])


__model__ = Gemma2Model
