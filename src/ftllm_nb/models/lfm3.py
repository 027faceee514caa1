"""LFM3: LFM2 with a norm after each branch, gates of attention's heads, and windows in some layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from ftllm_nb.blocks import Names, given_window, sliding_windows
from ftllm_nb.graph.config_entries import flag
from ftllm_nb.graph.layer_kinds import FULL, SLIDING
from ftllm_nb.models.lfm2 import Lfm2Model

_ROPE: dict[str, dict[str, Any]] = {
    FULL: {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.5},
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
}
"""rope_parameters where the config has none."""
_NAMES = replace(Lfm2Model.names, out="o_proj")


class Lfm3Model(Lfm2Model):
    """The graph of `Lfm3ForCausalLM`."""

    other_kinds = (SLIDING,)
    attending_entry = None
    head_norms = ("q_norm", "k_norm")
    default_head_dim = 128
    usual_taps = 7
    names: Names = _NAMES
    entry_names: ClassVar[Mapping[str, str]] = {"rms_norm_eps": "norm_eps"}

    def read_config(self) -> None:
        """Norms after branches are there unless use_sandwich_norm says otherwise."""
        if flag(self.config, "use_sandwich_norm", True):
            self.names = replace(self.names, after_attention="post_operator_norm", after_feed_forward="post_ffn_norm")
        if self.config.get("rope_parameters") is None:
            self.config["rope_parameters"] = {kind: dict(_ROPE[kind]) for kind in set(self.kinds) & {*_ROPE}}
        super().read_config()

    def usual_kinds(self) -> list[str]:
        """Of four layers the third attends to everything, and the first to a window, but for the very first."""
        kinds = [SLIDING, self.recurrent_kind, FULL, self.recurrent_kind]
        return [kinds[number % 4] if number else self.recurrent_kind for number in range(self.num_layers)]

    @cached_property
    def windows(self) -> list[int | None]:
        """Of the sliding layers."""
        return sliding_windows(self, given_window(self, default=256), others=(self.recurrent_kind,))

    @property
    def adjusts_inner_size(self) -> bool:
        """Never."""
        return False

    def project_heads(self, at: str, source: str) -> None:
        """Besides, the gate of each head [1, tokens, heads, 1], where use_attention_gate says so."""
        super().project_heads(at, source)
        if self.gates_heads:
            self.linear(source, f"{at}gate_proj", self.heads, "gate")
            self.Sigmoid(self.data["gate"], self.data["gate"])
            self.ExpandHead(self.data["gate"], 1)

    def attend(self, number: int, at: str, target: str) -> None:
        """What a head has attended to is multiplied by its gate."""
        super().attend(number, at, target)
        if self.gates_heads:
            self.ExpandHead(self.data[target], self.head_dim)
            self.MulTo(self.data[target], self.data["gate"])
            self.Flatten(self.data[target])

    @property
    def gates_heads(self) -> bool:
        """From the config."""
        return flag(self.config, "use_attention_gate", True)


__model__ = Lfm3Model
