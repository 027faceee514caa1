"""Nemotron-H and Nemotron 3: each layer is Mamba-2, attention that does not turn, a feed-forward or a mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import LatentMixtureDecoder, MixerDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import positive_or
from ftllm_nb.graph.layer_kinds import FULL

_MIXTURE, _DENSE = "moe", "mlp"
_LETTERS = {"M": MixerDecoder.recurrent_kind, "*": FULL, "-": _DENSE, "E": _MIXTURE}


class NemotronHModel(LatentMixtureDecoder, MixerDecoder):
    """The graph of `NemotronHForCausalLM`. What predicts more than one token is passed over."""

    unused = ("mtp.",)
    other_kinds = (_DENSE, _MIXTURE)
    attending_entry = "hybrid_override_pattern"
    shared_entry = ("moe_shared_expert_intermediate_size", 7688)
    is_gated = False
    default_activation = "relu2"
    entry_names: ClassVar[Mapping[str, str]] = {
        **MixerDecoder.entry_names, "mamba_n_heads": "mamba_num_heads", "mamba_d_head": "mamba_head_dim",
        "mamba_d_state": "ssm_state_size", "hidden_act": "mlp_hidden_act",
    }  # fmt: skip
    inner_entries = "mamba_num_heads · mamba_head_dim"

    def read_config(self) -> None:
        """There are as many layers as have a kind."""
        if self.config.get("num_hidden_layers") is None:
            self.config["num_hidden_layers"] = len(self.kinds)
        super().read_config()
        self.config["layer_types"] = self.kinds

    def listed_kinds(self) -> list[str] | None:
        """The kind of each layer as a word with a letter for each has it; None where there is none."""
        word, layers = self.config.get(self.attending_entry), self.config.get("num_hidden_layers")
        if word is None:
            return None
        if not isinstance(word, str) or not word or set(word) - set(_LETTERS):
            raise GraphError(
                f"config.json's {self.attending_entry} must be letters M, *, - and E, for layers of Mamba-2, "
                f"attention, a feed-forward and experts, but it is {shown(word)}."
            )
        if layers not in (None, len(word)):
            raise GraphError(
                f"config.json's {self.attending_entry} names the kinds of {len(word)} layers, but its "
                f"num_hidden_layers is {layers}."
            )
        return [_LETTERS[letter] for letter in word]

    def usual_kinds(self) -> list[str]:
        """There are none."""
        raise GraphError("config.json has neither layers_block_type nor hybrid_override_pattern, the kinds of layers.")

    @property
    def mamba_inner(self) -> int:
        """Heads of a size of their own."""
        return self.mamba_heads * self.mamba_size("mamba_d_head")

    @property
    def convolves_to_silu(self) -> bool:
        """By an entry of its own. Raises `GraphError` for anything else."""
        named = self.config.get("mamba_hidden_act")
        if named not in (None, "silu", "swish"):
            raise GraphError(f"config.json's mamba_hidden_act must be silu, but it is {shown(named)}.")
        return True

    @property
    def time_steps(self) -> tuple[float, float]:
        """The least is time_step_min; there is no largest."""
        name = "time_step_min"
        return 0.0 if self.config.get(name) == 0 else positive_or(self.config, name, 0.001), super().time_steps[1]

    def rotates(self, number: int) -> bool:
        """None."""
        return False

    def is_mixture(self, number: int) -> bool:
        """As the layer's kind says."""
        return self.kinds[number] == _MIXTURE


__model__ = NemotronHModel
