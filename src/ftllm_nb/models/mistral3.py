"""Mistral Small 3.1 and later, and Ministral 3 with its eyes: their text part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.models.ministral3 import Ministral3Model
from ftllm_nb.models.mistral import MistralModel


class Mistral3Folder(TextPart):
    """The text part of `Mistral3ForConditionalGeneration`."""

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {"mistral": MistralModel, "ministral3": Ministral3Model}


__model__ = Mistral3Folder
