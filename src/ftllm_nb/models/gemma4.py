"""Gemma 4's models that see and hear: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.gemma4_text import Gemma4Model


class Gemma4Folder(TextPart):
    """The text part of `Gemma4ForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"gemma4_text": Gemma4Model}


__model__ = Gemma4Folder
