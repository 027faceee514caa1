"""How llama.cpp has Mixtral: as a Llama with experts."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names

_PARTS = {"gate": "w1", "up": "w3", "down": "w2"}
_SINGLE = re.compile(r"blk\.(\d+)\.ffn_(gate|up|down)\.(\d+)\.weight")
"""An expert's matrix in files from before there were stacks."""


class Mixtral(MixtureArchitecture):
    """llama.cpp's `llama` that has experts."""

    model_type = "mixtral"
    writes = ("mixtral",)
    tells_expert_size = False
    turns_neighbours = True
    names: ClassVar = {
        **NAMES,
        **expert_names("block_sparse_moe", parts=(_PARTS["gate"], _PARTS["up"], _PARTS["down"])),
    }
    experts_entry = "num_local_experts"

    def config(self) -> dict[str, Any]:
        """There are no windows in llama.cpp; experts are as large as a feed-forward."""
        self.metadata.read("expert_feed_forward_length")
        return super().config() | {"sliding_window": None}

    def model_name(self, name: str) -> str:
        """Old files have the experts' matrices one by one."""
        single = _SINGLE.fullmatch(name)
        if single is None:
            return super().model_name(name)
        return f"model.layers.{single[1]}.block_sparse_moe.experts.{single[3]}.{_PARTS[single[2]]}.weight"
