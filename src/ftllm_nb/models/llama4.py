"""Llama 4's models that see: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.llama4_text import Llama4Model


class Llama4Folder(TextPart):
    """The text part of `Llama4ForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"llama4_text": Llama4Model}


__model__ = Llama4Folder
