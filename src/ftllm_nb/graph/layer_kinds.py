"""Which layers of a model see only a window of what was before: config.json's `layer_types` and its windows.

A window of W positions holds the token itself and the W − 1 before it, as in transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole

FULL, SLIDING = "full_attention", "sliding_attention"
_EARLIER_FULL = "attention"


def layer_kinds(config: Mapping[str, Any]) -> list[str] | None:
    """The kind of each layer; None where the config says nothing. Raises `GraphError` for anything else."""
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
    return [FULL if kind == _EARLIER_FULL else kind for kind in kinds]


def patterned_kinds(config: Mapping[str, Any], period: int) -> list[str]:
    """The kind of each layer by `layer_types`, else by `sliding_window_pattern`: every so manieth layer is full, or a
    word such as "LLLG" of local and global layers that is repeated; else every `period`-th is full.

    Raises `GraphError` for anything else.
    """
    layers, kinds = whole(config, "num_hidden_layers", 0), layer_kinds(config)
    word = config.get("sliding_window_pattern")
    if not isinstance(word, str):
        period = whole(config, "sliding_window_pattern", period)
        return kinds or [SLIDING if (layer + 1) % period else FULL for layer in range(layers)]
    if set(word) - {"L", "G"} or not word:
        raise GraphError(
            "config.json's sliding_window_pattern must be a whole number, or letters L and G for layers that slide and "
            f"that see everything, but it is {shown(word)}."
        )
    if len(word) > layers:
        raise GraphError(
            f"config.json's sliding_window_pattern {shown(word)} is for {len(word)} layers, but its num_hidden_layers "
            f"is {layers}."
        )
    return kinds or [SLIDING if word[layer % len(word)] == "L" else FULL for layer in range(layers)]


def layer_windows(config: Mapping[str, Any], window: int | None, first_sliding: int) -> list[int | None]:
    """Each layer's window, None for those that see everything.

    `window`: that of sliding layers. They are those that `layer_types` calls so; where it is absent, those from
    `first_sliding` on, if there is a window. Raises `GraphError` for kinds that are neither full nor sliding.
    """
    layers = whole(config, "num_hidden_layers", 0)
    kinds = layer_kinds(config)
    if kinds is None:
        return [window if layer >= first_sliding else None for layer in range(layers)]
    unknown = next((kind for kind in kinds if kind not in (FULL, SLIDING)), None)
    if unknown is not None:
        raise GraphError(
            f'config.json\'s layer_types has {shown(unknown)} layers; this architecture has "{FULL}" and "{SLIDING}".'
        )
    if window is None and SLIDING in kinds:
        raise GraphError(
            f'config.json\'s layer_types has "{SLIDING}" layers, but its sliding_window gives them no window, or its '
            "use_sliding_window is false."
        )
    return [window if kind == SLIDING else None for kind in kinds]
