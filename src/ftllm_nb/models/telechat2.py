"""TeleChat 2 under a name of its own; most of its configs say telechat."""

from __future__ import annotations

from ftllm_nb.models.telechat import TelechatModel

__model__ = TelechatModel
