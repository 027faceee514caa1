"""OLMoE: norms of whole queries and keys, and many small experts."""

from __future__ import annotations

from ftllm_nb.blocks import MixtureDecoder, Names
from ftllm_nb.graph.config_entries import flag
from ftllm_nb.models.olmo2 import Olmo2Model


class OlmoeModel(MixtureDecoder, Olmo2Model):
    """The graph of `OlmoeForCausalLM`."""

    names = Names()
    expert_entry = "intermediate_size"

    @property
    def normalizes(self) -> int:
        """As norm_topk_prob says."""
        return int(flag(self.config, "norm_topk_prob", False))


__model__ = OlmoeModel
