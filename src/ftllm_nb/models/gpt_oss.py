"""gpt-oss (OpenAI, 2025): experts with limited gates and biases, sinks of attention, windows in every second layer."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ftllm_nb.blocks import RAW, BiasedMixtureDecoder, SlidingDecoder
from ftllm_nb.graph.config_entries import flag, positive_or
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.ops.select_expert import NORM_SOFTMAX

_ROPE = {
    "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
    "original_max_position_embeddings": 4096, "rope_theta": 150000.0,
}  # fmt: skip
"""rope_parameters where the config has none."""
_LIMITED_PAIRS, _LIMITED_HALVES = 2, 6
"""MergeMOE's numbers for SwigluGptOss, of neighbours, and of gates and ups that are apart."""


class GptOssModel(SlidingDecoder, BiasedMixtureDecoder):
    """The graph of `GptOssForCausalLM`."""

    default_head_dim = 64
    window = 128
    router = "router"
    expert_entry = "intermediate_size"
    scores = RAW
    normalizes = NORM_SOFTMAX
    is_stacked = True
    are_stacks_transposed = True

    @property
    def qkv_bias(self) -> bool:
        """All projections have biases, where the config does not say."""
        return flag(self.config, "attention_bias", True)

    @cached_property
    def kinds(self) -> list[str]:
        """Sliding and full in turns, where layer_types is absent."""
        return layer_kinds(self.config) or [FULL if i % 2 else SLIDING for i in range(self.num_layers)]

    def check_config(self) -> None:
        """The usual rotation, where the config has none."""
        if all(self.config.get(name) is None for name in ("rope_parameters", "rope_scaling", "rope_theta")):
            self.config["rope_parameters"] = dict(_ROPE)
        super().check_config()

    def attention_limits(self, number: int) -> dict[str, Any]:
        """Each head has a sink."""
        name = f"{self.prefix}{self.names.layers}.{number}.{self.names.attention}.sinks"
        return super().attention_limits(number) | {"sinks": self.vector(name, self.heads)}

    @property
    def gate_type(self) -> int:
        """Gates and ups within limits, in most checkpoints neighbours."""
        return _LIMITED_HALVES if self.are_apart else _LIMITED_PAIRS

    def merging(self, at: str) -> dict[str, Any]:
        """Besides, the gate's numbers."""
        return {
            **super().merging(at),
            "limit": positive_or(self.config, "swiglu_limit", 7.0),
            "alpha": positive_or(self.config, "swiglu_alpha", 1.702),
        }


__model__ = GptOssModel
