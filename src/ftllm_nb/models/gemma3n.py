"""Gemma 3n's models that see and hear: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.gemma3n_text import Gemma3nModel


class Gemma3nFolder(TextPart):
    """The text part of `Gemma3nForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"gemma3n_text": Gemma3nModel}


__model__ = Gemma3nFolder
