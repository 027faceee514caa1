"""Qwen3.5's folders: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.qwen3_5_text import Qwen35Model


class Qwen35Folder(TextPart):
    """The text part of `Qwen3_5ForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"qwen3_5_text": Qwen35Model}


__model__ = Qwen35Folder
