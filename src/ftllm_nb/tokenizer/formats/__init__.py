"""Readers of tokenizer files, one module a file format.

A module has `FILE_NAME`, the file it reads; `PREFERENCE`, where the smallest wins when a folder has several;
and `open_backend(file, settings) -> Backend`. A new format is a new module here.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.settings import TokenizerSettings


class TokenizerFormat(Protocol):
    """What a module of this package offers."""

    FILE_NAME: str
    PREFERENCE: int

    def open_backend(self, file: Path, settings: TokenizerSettings) -> Backend:
        """Reads `file`; TokenizerError where it is damaged."""
        ...


def tokenizer_formats() -> list[TokenizerFormat]:
    """All formats, the preferred first."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
    ]
    return sorted((cast(TokenizerFormat, module) for module in modules), key=lambda one: one.PREFERENCE)
