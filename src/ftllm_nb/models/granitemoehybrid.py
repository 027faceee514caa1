"""Granite 4's hybrids: Mamba-2 in most layers, a feed-forward for all tokens, and experts beside it in some models."""

from __future__ import annotations

from ftllm_nb.blocks import MambaDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import positive_or, whole
from ftllm_nb.models.granitemoe import GraniteMoeModel


class GraniteMoeHybridModel(MambaDecoder, GraniteMoeModel):
    """The graph of `GraniteMoeHybridForCausalLM`."""

    def build(self) -> None:
        """As decoders do. A model of Mamba-2 alone has attention's factor as well, with nothing to multiply."""
        positive_or(self.config, "attention_multiplier", 1.0)
        super().build()

    def is_mixture(self, number: int) -> bool:
        """Where there are experts."""
        return whole(self.config, "num_local_experts", 8, least=0) > 0

    def rotates(self, number: int) -> bool:
        """Where position_embedding_type says so."""
        kind = self.config.get("position_embedding_type")
        if kind not in (None, "nope", "rope"):
            known = '"rope", "nope" or null'
            raise GraphError(f"config.json's position_embedding_type must be {known}, but it is {shown(kind)}.")
        return bool(kind == "rope")

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """The experts' sum, and what all tokens go through, whose gate and up are one matrix."""
        shared = f"{at.removesuffix(f'{self.names.feed_forward}.')}shared_mlp."
        size = self.size("shared_intermediate_size")
        if self.is_mixture(self.number):
            super().feed_forward(at, source, target)
        if f"{shared}gate_proj.weight" in self.checkpoint_names:  # as GGUF has them
            self.linear(source, f"{shared}gate_proj", size, "gate")
            self.linear(source, f"{shared}up_proj", size, "up")
            self.activate("gate")
            self.MulTo(self.data["gate"], self.data["up"])
        else:
            self.linear(source, f"{shared}input_linear", 2 * size, "gate_up")
            self.Swiglu(self.data["gate_up"], self.data["gate"])
            self._sizes["gate"] = size
        if not self.is_mixture(self.number):
            self.linear("gate", f"{shared}output_linear", self.hidden_size, target)
        else:
            self.linear("gate", f"{shared}output_linear", self.hidden_size, "shared")
            self.AddTo(self.data[target], self.data["shared"])


__model__ = GraniteMoeHybridModel
