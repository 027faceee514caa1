"""Qwen2 and Qwen2.5: Llama with biases on q, k and v, and a window beyond which the context ends."""

from __future__ import annotations

from ftllm_nb.models.llama import LlamaModel


class Qwen2Model(LlamaModel):
    """The graph of `Qwen2ForCausalLM`."""

    def build(self) -> None:
        """Llama's graph; a bias is read wherever the checkpoint has one."""
        config = self.config
        if config.get("use_sliding_window"):
            # Within the window, every layer sees everything: the context ends where that stops being so.
            config["max_positions"] = min(config["max_position_embeddings"], config["sliding_window"])
        super().build()

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a checkpoint of this config."""
        shapes = super().weight_shapes()
        projections = [name for name in shapes if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))]
        biases = {name.removesuffix("weight") + "bias": shapes[name][:1] for name in projections}
        return shapes | biases


__model__ = Qwen2Model
