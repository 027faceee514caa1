"""Decoders that turn whole heads and know one activation: Llama's own form."""

from __future__ import annotations

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError


class WholeHeadsDecoder(Decoder):
    """A `Decoder` that refuses other activations than SiLU and rotations of a part of a head."""

    def check_config(self) -> None:
        """Whole heads turn, and the activation is SiLU."""
        named = self.config.get("hidden_act")
        if named is not None and named != "silu":
            raise GraphError(f"this architecture's hidden_act is silu, but config.json has {shown(named)}.")
        for dim in self.rotations.values():
            if dim != self.head_dim:
                raise GraphError(
                    f"this architecture rotates whole heads, of {self.head_dim} numbers, but config.json's "
                    f"partial_rotary_factor leaves {dim} of them."
                )
