"""How llama.cpp has models whose layers are one branch each, with Mamba-2 in some or all of them."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.recurrent import RecurrentArchitecture, recurrent_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel

MIXERS = {
    "token_embd": "backbone.embeddings",
    "output_norm": "backbone.norm_f",
    "output": "lm_head",
    "blk.*.attn_norm": "backbone.layers.*.norm",
    **recurrent_names("mixer", "backbone.layers"),
}
"""llama.cpp's names of tensors → Hugging Face's."""
_ENTRIES = {"state": "state_size", "groups": "n_groups", "taps": "conv_kernel", "conv_bias": "use_conv_bias",
            "proj_bias": "use_bias"}  # fmt: skip


class MixerArchitecture(RecurrentArchitecture):
    """A `RecurrentArchitecture` without rotations.

    `own_entries`: what the config calls heads and head_dim of recurrences, and whatever else is not usual.
    """

    eps_entry = "layer_norm_epsilon"
    turns = False
    names: ClassVar = MIXERS
    own_entries: ClassVar[dict[str, str]] = {}

    @property
    def inner_size(self) -> int:
        """Features inside of a feed-forward, of layers that have one."""
        return max(self.inner_sizes(), default=0)

    def inner_sizes(self) -> list[int]:
        """The same of each layer."""
        return self.metadata.wholes("feed_forward_length", self.all_layers, 0, 0)[: self.layers]

    @classmethod
    def norm_groups(cls, model: OutgoingModel) -> int:
        """From the config."""
        return int(model.config["mamba_n_groups"])

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the sizes of recurrences."""
        return {**super().entries(model), **cls.mamba_entries(model)}

    def rotations(self) -> dict[str, Any]:
        """None, whatever the metadata has of them."""
        self.metadata.read("rope.dimension_count", "rope.freq_base")
        return {}

    def config(self) -> dict[str, Any]:
        """With the sizes of recurrences."""
        return super().config() | self.mamba_sizes(**_ENTRIES | self.own_entries)
