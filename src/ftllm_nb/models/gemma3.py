"""Gemma 3's models that see: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.gemma3_text import Gemma3Model


class Gemma3Folder(TextPart):
    """The text part of `Gemma3ForConditionalGeneration`, whose text_config says only what its defaults do not."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"gemma3_text": Gemma3Model}
    defaults: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
    }


__model__ = Gemma3Folder
