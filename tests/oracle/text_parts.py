"""Small configurations of models that see or hear, whose text part alone is computed."""

from __future__ import annotations

from typing import Any

from tests.oracle.architectures import FULL, PLAIN, SLIDING, YARN

EYES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
"""A vision_config that is as small as it can be."""

TEXT_PARTS: dict[str, list[dict[str, Any]]] = {
    "gemma3": [
        {"text_config": {"sliding_window": 12}, "vision_config": EYES, "mm_tokens_per_image": 4},
        {"text_config": {"sliding_window": 5, "num_hidden_layers": 7, "query_pre_attn_scalar": 10, "rope_parameters": {
            FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, SLIDING: PLAIN}},
         "vision_config": EYES, "mm_tokens_per_image": 4},
    ],
    "mistral3": [
        {"text_config": {"model_type": "mistral", "sliding_window": 12}, "vision_config": EYES},
        {"text_config": {"model_type": "mistral", "rope_parameters": YARN}, "vision_config": EYES,
         "tie_word_embeddings": False},
    ],
}  # fmt: skip
"""By model_type: entries of each configuration; its text_config has the SIZES of architectures.py besides."""
