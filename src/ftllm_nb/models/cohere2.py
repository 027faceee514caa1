"""Command R7B and others of Cohere 2: attention and feed-forward side by side on one norm."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import LayerNormedDecoder, Names, SlidingDecoder
from ftllm_nb.graph.config_entries import positive
from ftllm_nb.graph.layer_kinds import SLIDING, patterned_kinds


class Cohere2Model(SlidingDecoder, LayerNormedDecoder):
    """The graph of `Cohere2ForCausalLM`."""

    names = Names(before_feed_forward=None)
    norm_bias = False
    ties_by_default = True
    turns_neighbours = True
    window = 4096

    @cached_property
    def kinds(self) -> list[str]:
        """Every fourth is full, where the config does not say."""
        return patterned_kinds(self.config, 4)

    @property
    def is_parallel(self) -> bool:
        """Always."""
        return True

    def rotates(self, number: int) -> bool:
        """Only sliding layers do."""
        return self.kinds[number] == SLIDING

    def finish_logits(self) -> None:
        """Times logit_scale."""
        if self.config.get("logit_scale") is not None:
            self.Mul(self.data["logits"], positive(self.config, "logit_scale"), self.data["logits"])


__model__ = Cohere2Model
