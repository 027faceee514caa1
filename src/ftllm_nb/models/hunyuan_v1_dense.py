"""HunYuan's dense models: Llama whose query and key heads are normalized after they have turned."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder
from ftllm_nb.graph.config_entries import flag


class HunYuanModel(Decoder):
    """The graph of `HunYuanDenseV1ForCausalLM`."""

    def turn_heads(self, number: int, at: str) -> None:
        """Turned, then normalized."""
        self.rotate(number, "q", "k")
        if flag(self.config, "use_qk_norm", True):
            self.normalize_heads(at, q="query_layernorm", k="key_layernorm")


__model__ = HunYuanModel
