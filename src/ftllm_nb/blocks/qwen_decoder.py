"""What Qwen's generations share: Llama's form with layers that may slide."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks.whole_heads import WholeHeadsDecoder
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.graph.layer_kinds import layer_windows

WINDOW, FIRST_SLIDING = 4096, 28
"""What transformers takes for an absent sliding_window and max_window_layers."""


class QwenDecoder(WholeHeadsDecoder):
    """A `WholeHeadsDecoder` with the windows of Qwen's configs."""

    @cached_property
    def windows(self) -> list[int | None]:
        """If `use_sliding_window` says so, layers from `max_window_layers` on slide, or those of `layer_types`."""
        config, window = self.config, None
        is_given = config.get("sliding_window", WINDOW) is not None  # also where nothing slides, as in most configs
        if flag(config, "use_sliding_window", False) and is_given:
            window = whole(config, "sliding_window", WINDOW)
        return layer_windows(config, window, whole(config, "max_window_layers", FIRST_SLIDING, least=0))
