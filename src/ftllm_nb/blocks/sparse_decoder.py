"""Decoders in which only the largest activations of some feed-forwards count."""

from __future__ import annotations

from functools import cached_property
from statistics import NormalDist
from typing import Any

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError

_SPARSE = 10, 0.95
"""How many layers are sparse, and how much of them, where the config does not say and has more of them."""


class SparseDecoder(Decoder):
    """A decoder with an activation_sparsity_pattern: of each layer, the part of activations that becomes 0."""

    _is_inside = False

    @cached_property
    def cuts(self) -> list[float | None]:
        """By layer, the standard deviations above the mean from which on activations count; None where all do."""
        if self.config.get("activation_sparsity_pattern") is None:
            sparse, part = _SPARSE
            parts: list[Any] = [part if i < sparse < self.num_layers else 0.0 for i in range(self.num_layers)]
        else:
            parts = listed(self, "activation_sparsity_pattern")
        if not all(isinstance(part, (int, float)) and 0 <= part < 1 for part in parts):
            raise GraphError(
                "config.json's activation_sparsity_pattern must have numbers from 0 to below 1, but it is "
                f"{shown(parts)}."
            )
        return [NormalDist().inv_cdf(part) if part else None for part in parts]

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """Sparse, where the layer is."""
        self._is_inside = True
        super().feed_forward(at, source, target)
        self._is_inside = False

    def activate(self, name: str) -> None:
        """Of a sparse feed-forward, what lies above the cut."""
        cut = self.cuts[self.number] if self._is_inside else None
        if cut is not None:
            self.GaussianTopK(self.data[name], cut, self.data[name])
        super().activate(name)


def listed(graph: Decoder, entry: str) -> list[Any]:
    """What the config has for each layer. Raises `GraphError` for what is no list of so many."""
    given = graph.config.get(entry)
    if not isinstance(given, list) or len(given) != graph.num_layers:
        raise GraphError(
            f"config.json's {entry} must have a number for each of {graph.num_layers} layers, but it is {shown(given)}."
        )
    return given
