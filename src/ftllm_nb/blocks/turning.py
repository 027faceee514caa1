"""Which of a decoder's layers turn their heads by position, from its config."""

from __future__ import annotations

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole


def turning_layers(graph: Decoder, entry: str = "no_rope_layers") -> list[bool]:
    """Whether each layer turns: the config's list has a 0 for those that do not.

    Without the list, all but every fourth do, or as no_rope_layer_interval says. Raises `GraphError` for what is no
    list of a number for each layer.
    """
    given = graph.config.get(entry)
    if given is None or given == []:
        interval = whole(graph.config, "no_rope_layer_interval", 4)
        return [(number + 1) % interval != 0 for number in range(graph.num_layers)]
    numbers = given if isinstance(given, list) and len(given) == graph.num_layers else [None]
    if not all(isinstance(each, (int, float)) for each in numbers):
        raise GraphError(
            f"config.json's {entry} must have a number for each of {graph.num_layers} layers, 0 for those that do not "
            f"turn, but it is {shown(given)}."
        )
    return [bool(each) for each in numbers]
