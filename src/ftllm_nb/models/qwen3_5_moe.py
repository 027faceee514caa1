"""Folders of Qwen3.5's mixtures of experts: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.qwen3_5_moe_text import Qwen35MoeModel


class Qwen35MoeFolder(TextPart):
    """The text part of `Qwen3_5MoeForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"qwen3_5_moe_text": Qwen35MoeModel}


__model__ = Qwen35MoeFolder
