"""Decoders that turn whole heads and know one activation: Llama's own form."""

from __future__ import annotations

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.layer_kinds import SLIDING


class WholeHeadsDecoder(Decoder):
    """A `Decoder` that refuses other activations than SiLU and rotations of a part of a head."""

    def check_config(self) -> None:
        """Whole heads turn, the activation is SiLU, and there are no windows."""
        config = self.config
        named = config.get("hidden_act")
        if named is not None and named != "silu":
            raise GraphError(f"this architecture's hidden_act is silu, but config.json has {shown(named)}.")
        for dim in self.rotations.values():
            if dim != self.head_dim:
                raise GraphError(
                    f"this architecture rotates whole heads, of {self.head_dim} numbers, but config.json's "
                    f"partial_rotary_factor leaves {dim} of them."
                )
        if not any(self.windows) and (SLIDING in self.kinds or config.get("sliding_window") is not None):
            self.note_windows()

    def note_windows(self) -> None:
        """Say that entries of windows mean nothing here."""
        self.notes.append(
            "config.json has entries of sliding windows, which this architecture does not have: every layer sees "
            "everything, as in transformers."
        )
