"""config.json's `layer_types`: the kind of attention of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError

FULL, SLIDING = "full_attention", "sliding_attention"


def layer_kinds(config: Mapping[str, Any]) -> list[str] | None:
    """A kind for each layer; None where the config says nothing. Raises `GraphError` for anything else."""
    kinds = config.get("layer_types")
    if kinds is None:
        return None
    if not isinstance(kinds, list) or not kinds or not all(isinstance(kind, str) for kind in kinds):
        raise GraphError(f"config.json's layer_types must be a list of names, one for each layer, not {shown(kinds)}.")
    layers = config.get("num_hidden_layers", len(kinds))
    if len(kinds) != layers:
        raise GraphError(
            f"config.json's layer_types names the kinds of {len(kinds)} layers, but its num_hidden_layers is {layers}."
        )
    return kinds
