"""Gemma 4's unified models, which see and hear without towers: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.gemma4_unified_text import Gemma4UnifiedModel


class Gemma4UnifiedFolder(TextPart):
    """The text part of `Gemma4UnifiedForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"gemma4_unified_text": Gemma4UnifiedModel}


__model__ = Gemma4UnifiedFolder
