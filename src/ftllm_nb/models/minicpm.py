"""MiniCPM 1, 2 and 4: Llama with three factors."""

from __future__ import annotations

from ftllm_nb.blocks import MiniCPMDecoder
from ftllm_nb.errors import GraphError


class MiniCPMModel(MiniCPMDecoder):
    """The graph of `MiniCPMForCausalLM`."""

    def check_config(self) -> None:
        """No experts; attention sees everything, where MiniCPM 4's may skip blocks of long texts."""
        if self.config.get("num_experts"):
            raise GraphError("config.json's num_experts asks for experts, which this architecture does not have here.")
        if self.config.get("sparse_config") is not None:
            self.notes.append(
                "config.json's sparse_config lets the model skip parts of long texts; here every token sees everything."
            )
        super().check_config()


__model__ = MiniCPMModel
