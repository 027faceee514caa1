"""Mixtures in which a token has one expert, whose input is weighed, beside a feed-forward that all go through."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks.mixture import MixtureDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole


class OneExpertDecoder(MixtureDecoder):
    """A `MixtureDecoder` as Llama 4 has it: stacks as [experts, in, out], and the weight on what goes in."""

    router = "router"
    is_stacked = True
    are_stacks_transposed = True
    shared = "shared_expert"

    @property
    def inner_size(self) -> int:
        """intermediate_size_mlp where all tokens go; experts have intermediate_size."""
        return self.size("intermediate_size_mlp") if self._inner is None else self._inner

    @property
    def expert_size(self) -> int:
        """Of each expert, and of the shared one."""
        return self.size("intermediate_size")

    @cached_property
    def mixtures(self) -> list[int]:
        """Layers with experts: moe_layers, or each interleave_moe_layer_step-th."""
        step, given = whole(self.config, "interleave_moe_layer_step", 1), self.config.get("moe_layers")
        if given is None:
            return list(range(step - 1, self.num_layers, step))
        if not isinstance(given, list) or any(isinstance(i, bool) or not isinstance(i, int) for i in given):
            raise GraphError(f"config.json's moe_layers must be a list of layers, but it is {shown(given)}.")
        return given

    def is_mixture(self, number: int) -> bool:
        """As moe_layers says."""
        return number in self.mixtures

    def route(self, at: str, source: str) -> None:
        """The best expert's weight is 1, and its input is multiplied by the sigmoid of its product."""
        self.linear(source, f"{at}{self.router}", self.num_experts, "scores")
        data = self.data
        self.SelectExpert(data["scores"], data["experts"], data["share"], 1)
        self.Sigmoid(data["share"], data["share"])
        self.SelectExpert(data["scores"], data["experts"], data["weights"], 1, 2)

    def merge_experts(self, at: str, source: str, target: str) -> None:
        """Of the weighted source."""
        self.Mul(self.data[source], 1.0, self.data["weighted"])
        self.MulTo(self.data["weighted"], self.data["share"])
        self._sizes["weighted"] = self._sizes[source]
        super().merge_experts(at, "weighted", target)

    def check_config(self) -> None:
        """One expert a token, where there are any."""
        if not self.mixtures:
            self.config["num_local_experts"] = None
        elif self.picks != 1:
            raise GraphError(
                f"config.json's num_experts_per_tok is {self.picks}, but a token of this architecture has one expert."
            )
        super().check_config()
