"""Ministral 3: Mistral whose queries grow with their position."""

from __future__ import annotations

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import positive
from ftllm_nb.models.mistral import MistralModel

_ROPE = {
    "rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16384,
    "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
}  # fmt: skip
"""rope_parameters where the config has none."""


class Ministral3Model(MistralModel):
    """The graph of `Ministral3ForCausalLM`."""

    @property
    def head_dim(self) -> int:
        """128 where the config does not say."""
        return 128 if "head_dim" not in self.config else super().head_dim

    def check_config(self) -> None:
        """rope_parameters say how queries grow, too."""
        rope = self.config.get("rope_parameters")
        rope = dict(_ROPE) if rope is None else rope
        if not isinstance(rope, dict):
            raise GraphError(f"config.json's rope_parameters must be an object, but it is {shown(rope)}.")
        self._beta = positive(rope, "llama_4_scaling_beta")
        self._length = positive(rope, "original_max_position_embeddings")
        known = ("llama_4_scaling_beta", "max_position_embeddings")
        self.config["rope_parameters"] = {name: value for name, value in rope.items() if name not in known}
        super().check_config()

    def turn_heads(self, number: int, at: str) -> None:
        """Turned, then the queries scaled."""
        self.rotate(number, "q", "k")
        self.ScaleByPosition(self.data["q"], self.data["positionIds"], self._beta, self._length)


__model__ = Ministral3Model
