"""Zamba2: Mamba-2 in each layer, and before some a transformer's layer that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Names, SharedLayersDecoder
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive_or
from ftllm_nb.graph.layer_kinds import FULL

_LONG_CONTEXT = 16384


class Zamba2Model(SharedLayersDecoder):
    """The graph of `Zamba2ForCausalLM`."""

    names = Names(norm="final_layernorm", feed_forward="feed_forward")
    default_activation = "gelu"
    default_eps = 1e-5
    ties_by_default = True
    usual_sizes: ClassVar[Mapping[str, int]] = {
        "mamba_n_heads": 8, "mamba_n_groups": 1, "mamba_d_state": 64, "mamba_d_conv": 4, "mamba_expand": 2,
    }  # fmt: skip
    entry_names: ClassVar[Mapping[str, str]] = {
        "mamba_n_heads": "n_mamba_heads", "mamba_n_groups": "mamba_ngroups", "mamba_proj_bias": "add_bias_linear",
        "mlp_bias": "add_bias_linear",
    }  # fmt: skip

    def read_config(self) -> None:
        """A feed-forward is four times as wide where the config does not say; long contexts have a length."""
        if self.config.get("intermediate_size") is None:
            self.config["intermediate_size"] = 4 * self.hidden_size
        if flag(self.config, "use_long_context", False):
            self.config["max_position_embeddings"] = _LONG_CONTEXT
        if FULL in self.kinds:
            raise GraphError(f'config.json\'s layer_types has "{FULL}" layers; those that attend are "hybrid" here.')
        super().read_config()

    def usual_kinds(self) -> list[str]:
        """As in the model of 2.7B."""
        hybrids = {*range(6, 43, 6), 47, 51}
        return [self.sharing_kind if number in hybrids else self.recurrent_kind for number in range(self.num_layers)]

    @property
    def head_dim(self) -> int:
        """Attention reads twice as many features as flow between layers."""
        return 2 * self.hidden_size // self.heads

    @property
    def scale(self) -> float:
        """As of heads of half the size."""
        return float((self.head_dim / 2) ** -0.5)

    @property
    def read_eps(self) -> float:
        """Whatever other norms add."""
        return 1e-5

    @property
    def convolves_to_silu(self) -> bool:
        """Always."""
        return True

    @property
    def time_steps(self) -> tuple[float, float]:
        """The least is time_step_min; there is no largest."""
        name = "time_step_min"
        return 0.0 if self.config.get(name) == 0 else positive_or(self.config, name, 0.001), super().time_steps[1]

    def rotates(self, number: int) -> bool:
        """Where use_mem_rope says so."""
        return flag(self.config, "use_mem_rope", False)


__model__ = Zamba2Model
