"""Windows of a decoder's layers, from its config."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole
from ftllm_nb.graph.layer_kinds import FULL, SLIDING


class SlidingDecoder(Decoder):
    """A `Decoder` whose layers see a window where layer_types calls them sliding.

    `window`: sliding_window where the config has none.
    """

    window: ClassVar[int | None] = None

    @cached_property
    def windows(self) -> list[int | None]:
        """Of the sliding layers."""
        return sliding_windows(self, given_window(self, default=self.window))


def sliding_windows(graph: Decoder, window: int | None, others: tuple[str, ...] = ()) -> list[int | None]:
    """The window of each layer that layer_types calls sliding, None for the others. Raises `GraphError` for kinds that
    are neither full nor sliding nor these others, and where sliding layers have no window."""
    unknown = next((kind for kind in graph.kinds if kind not in (FULL, SLIDING, *others)), None)
    if unknown is not None:
        raise GraphError(
            f'config.json\'s layer_types has {shown(unknown)} layers; this architecture has "{FULL}" and "{SLIDING}".'
        )
    if window is None and SLIDING in graph.kinds:
        raise GraphError(f'config.json\'s layer_types has "{SLIDING}" layers, but its sliding_window gives them none.')
    return [window if kind == SLIDING else None for kind in graph.kinds]


def given_window(graph: Decoder, default: int | None = None) -> int | None:
    """The window that the config has: None for null, as in transformers, and the default where it is absent."""
    given = graph.config.get("sliding_window", default)
    return None if given is None else whole({"sliding_window": given}, "sliding_window", 0)
