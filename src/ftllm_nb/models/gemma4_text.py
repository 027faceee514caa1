"""Gemma 4's text models: layers of two head sizes, some of which share keys and values, some with experts beside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ftllm_nb.blocks import EdgeDecoder, EdgeMixtureDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.graph.layer_kinds import FULL, SLIDING
from ftllm_nb.models.gemma3_text import Gemma3Model

_ROPE = {FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}, SLIDING: {}}
"""rope_parameters where the config has none."""


class Gemma4Model(EdgeMixtureDecoder, EdgeDecoder, Gemma3Model):
    """The graph of `Gemma4ForCausalLM`."""

    window = 512

    @cached_property
    def layer_sizes(self) -> list[tuple[int, int]]:
        """The size of a head, and the heads of keys, of each layer."""
        config, size, heads = self.config, super().head_dim, super().kv_heads
        if (given := config.get("per_layer_config")) is None:
            joins = flag(config, "attention_k_eq_v", False)
            own_heads = whole(config, "num_global_key_value_heads", heads) if joins else heads
            full = whole(config, "global_head_dim", 512), own_heads
            return [full if kind == FULL else (size, heads) for kind in self.kinds]
        by_layer: dict[str, Any] = {str(i): {} for i in range(self.num_layers)}
        if isinstance(given, Mapping):
            by_layer |= {name.lstrip("0") or "0": entry for name, entry in given.items()}  # transformers writes "05"
        sizes = [(whole(each, "head_dim", size), whole(each, "num_key_value_heads", heads))
                 for each in by_layer.values() if isinstance(each, Mapping)]  # fmt: skip
        kinds = {(kind, dim) for kind, (dim, _) in zip(self.kinds, sizes, strict=False)}
        if not isinstance(given, Mapping) or len(sizes) != self.num_layers or len(kinds) != len(set(self.kinds)):
            raise GraphError(
                "config.json's per_layer_config must have an object for each layer that differs, and one head_dim "
                f"for a kind, but it is {shown(given)}."
            )
        return sizes

    @property
    def head_dim(self) -> int:
        """Of the layer at hand."""
        return self.layer_sizes[self.number][0]

    @property
    def kv_heads(self) -> int:
        """Of the layer at hand."""
        return self.layer_sizes[self.number][1]

    @property
    def inner_size(self) -> int:
        """Twice in layers that store nothing, where use_double_wide_mlp says so."""
        return super().inner_size * (1 + (flag(self.config, "use_double_wide_mlp", False) and not self.stores))

    @property
    def keys_are_values(self) -> bool:
        """In layers that see everything, where attention_k_eq_v says so."""
        return flag(self.config, "attention_k_eq_v", False) and self.kinds[self.number] == FULL

    @cached_property
    def kinds(self) -> list[str]:
        """The last one is full, whatever the config says."""
        return [*super().kinds[:-1], FULL]

    def check_config(self) -> None:
        """Only pictures may be seen in both directions; a rotation is of its layers' heads."""
        if self.config.get("use_bidirectional_attention") == "vision":
            self.config["use_bidirectional_attention"] = None
        rope = self.config.get("rope_parameters") or _ROPE
        if isinstance(rope, Mapping):
            dims = {kind: dim for kind, (dim, _) in zip(self.kinds, self.layer_sizes, strict=True)}
            self.config["rope_parameters"] = {
                kind: {**table, "head_dim": dims.get(kind)} if isinstance(table, Mapping) else table
                for kind, table in rope.items()
            }
        super().check_config()

    def layer(self, number: int, at: str) -> None:
        """After the branches comes that of the layer's own embedding; all is multiplied by a number."""
        super().layer(number, at)
        if self.layer_size:
            self.layer_branch(at, "hidden", "branch")
            self.add_branch("branch")
        self._shapes[f"{at}layer_scalar"] = (1,)
        self.MulTo(self.data["hidden"], self.weight[f"{at}layer_scalar"])


__model__ = Gemma4Model
