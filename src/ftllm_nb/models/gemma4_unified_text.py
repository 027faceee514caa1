"""The text part of Gemma 4's unified models: Gemma 4 without embeddings of each layer's own."""

from __future__ import annotations

from ftllm_nb.models.gemma4_text import Gemma4Model


class Gemma4UnifiedModel(Gemma4Model):
    """The graph of `Gemma4UnifiedForCausalLM`."""

    window = 1024
    embedding_size = 0


__model__ = Gemma4UnifiedModel
