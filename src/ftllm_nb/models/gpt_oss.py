"""gpt-oss (OpenAI, 2025): experts with limited gates and biases, sinks of attention, windows in every second layer."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ftllm_nb.blocks import RAW, MixtureDecoder, given_window, sliding_windows
from ftllm_nb.graph.config_entries import flag, positive_or
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.graph.references import WeightReference

_ROPE = {
    "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
    "original_max_position_embeddings": 4096, "rope_theta": 150000.0,
}  # fmt: skip
"""rope_parameters where the config has none."""
_LIMITED_PAIRS, _LIMITED_HALVES = 2, 6
"""MergeMOE's numbers for SwigluGptOss, of neighbours, and of gates and ups that are apart."""


class GptOssModel(MixtureDecoder):
    """The graph of `GptOssForCausalLM`."""

    router = "router"
    router_bias = True
    scores = RAW
    is_stacked = True
    are_stacks_transposed = True

    @property
    def normalizes(self) -> int:
        """The softmax of those that are chosen."""
        return 2

    @property
    def head_dim(self) -> int:
        """64 where the config does not say."""
        return 64 if self.config.get("head_dim") is None else super().head_dim

    @property
    def expert_size(self) -> int:
        """As a feed-forward's."""
        return super().inner_size

    @property
    def qkv_bias(self) -> bool:
        """All projections have biases, where the config does not say."""
        return flag(self.config, "attention_bias", True)

    @cached_property
    def kinds(self) -> list[str]:
        """Sliding and full in turns, where layer_types is absent."""
        return layer_kinds(self.config) or [FULL if i % 2 else SLIDING for i in range(self.num_layers)]

    @cached_property
    def windows(self) -> list[int | None]:
        """Of the sliding layers."""
        return sliding_windows(self, given_window(self, default=128))

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
    def are_apart(self) -> bool:
        """Whether the checkpoint has gates and ups as tensors of their own, as GGUF files and quantized folders do."""
        return len(self.stacked_as) != len(self.stacks)

    @property
    def gate_type(self) -> int:
        """Gates and ups within limits, in most checkpoints neighbours."""
        return _LIMITED_HALVES if self.are_apart else _LIMITED_PAIRS

    def merging(self, at: str) -> dict[str, Any]:
        """Biases of each expert, and the gate's numbers."""
        sizes = [self.expert_size, self.expert_size, self.hidden_size]
        if not self.stacked_as:
            biases = [
                self.vectors_of(f"{at}{self.experts}", part, size)
                for part, size in zip(self.expert_parts, sizes, strict=True)
            ]
        elif self.are_apart:
            names = (f"{at}{name.removesuffix('weight')}bias" for name in self.stacked_as)
            biases = [self.rows_of(name, size) for name, size in zip(names, sizes, strict=True)]
        else:
            gate, down = (f"{at}{name}_bias" for name in self.stacked_as)
            biases = [self.rows_of(gate, 2 * self.expert_size), [], self.rows_of(down, self.hidden_size)]
        return {
            **dict(zip(("gateBias", "upBias", "downBias"), (each or None for each in biases), strict=True)),
            "limit": positive_or(self.config, "swiglu_limit", 7.0),
            "alpha": positive_or(self.config, "swiglu_alpha", 1.702),
        }

    def vectors_of(self, at: str, part: str, size: int) -> list[WeightReference]:
        """Each expert's vector, of a tensor of its own."""
        names = [f"{at}.{expert}.{part}.bias" for expert in range(self.num_experts)]
        self._shapes.update(dict.fromkeys(names, (size,)))
        return [self.weight[name] for name in names]

    def rows_of(self, name: str, size: int) -> list[WeightReference]:
        """Each expert's vector, of a tensor that holds all."""
        self._shapes[name] = (self.num_experts, size)
        return [self.weight[name].rows(e, e + 1).reshaped(size) for e in range(self.num_experts)]


__model__ = GptOssModel
