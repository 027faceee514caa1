"""DeepSeek V2 and V2-Lite: latent attention, and experts chosen by their softmax, in V2 from groups."""

from __future__ import annotations

from typing import Any

from ftllm_nb.blocks import SOFTMAX, GroupedMixtureDecoder, LatentAttentionDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag
from ftllm_nb.ops.select_expert import NORM_NONE

_GREEDY, _GROUPS = "greedy", "group_limited_greedy"


class DeepseekV2Model(GroupedMixtureDecoder, LatentAttentionDecoder):
    """The graph of `DeepseekV2ForCausalLM`."""

    turns_neighbours = True
    scores = SOFTMAX
    correction = None
    group_top = 1
    normalizes = NORM_NONE

    @property
    def routing(self) -> dict[str, Any]:
        """Groups, where topk_method says so."""
        routing = super().routing
        if self.config.get("topk_method", _GREEDY) == _GREEDY:
            return {"routeScale": routing["routeScale"]}
        return routing

    def check_config(self) -> None:
        """Experts are chosen in one of two ways, and their weights never normalized."""
        method = self.config.get("topk_method", _GREEDY)
        if method not in (_GREEDY, _GROUPS):
            raise GraphError(
                f'config.json\'s topk_method is {shown(method)}; this architecture has "{_GREEDY}" and "{_GROUPS}".'
            )
        if flag(self.config, "norm_topk_prob", False):
            raise GraphError(
                "config.json's norm_topk_prob is true, but this architecture's models do not normalize the weights of "
                "experts, and other programs ignore the entry: set it to false."
            )
        super().check_config()


__model__ = DeepseekV2Model
