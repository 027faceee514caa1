"""HunYuan's mixtures of experts, such as A13B: one expert is for all tokens."""

from __future__ import annotations

from ftllm_nb.blocks import MixtureDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.models.hunyuan_v1_dense import HunYuanModel


class HunYuanMoeModel(MixtureDecoder, HunYuanModel):
    """The graph of `HunYuanMoEV1ForCausalLM`. Numbers of experts may be lists of one for each layer."""

    router = "gate.wg"
    shared = "shared_mlp"

    def is_mixture(self, number: int) -> bool:
        """From layer moe_layer_num_skipped on."""
        return number >= whole(self.config, "moe_layer_num_skipped", 0, least=0)

    def of_layer(self, name: str, default: int) -> int:
        """An entry's number for the layer at hand."""
        given = self.config.get(name)
        if isinstance(given, list):
            if len(given) != self.num_layers:
                raise GraphError(
                    f"config.json's {name} must have a number for each of {self.num_layers} layers, but it is "
                    f"{shown(given)}."
                )
            given = given[self.number]
        return whole({name: given}, name, default)

    @property
    def num_experts(self) -> int:
        """Of the layer at hand."""
        return self.of_layer("num_experts", 1)

    @property
    def picks(self) -> int:
        """Of the layer at hand."""
        return self.of_layer("moe_topk", 1)

    @property
    def expert_size(self) -> int:
        """As a feed-forward's, where the config does not say."""
        return self.of_layer("moe_intermediate_size", self.size("intermediate_size"))

    @property
    def shared_size(self) -> int:
        """num_shared_expert feed-forwards side by side."""
        return self.size("intermediate_size") * self.of_layer("num_shared_expert", 1)

    def check_config(self) -> None:
        """Weights are always normalized."""
        if not flag(self.config, "norm_topk_prob", True):
            raise GraphError("config.json's norm_topk_prob is false, but weights of experts are normalized here.")
        super().check_config()


__model__ = HunYuanMoeModel
