"""Architectures of GGUF files, one file each: the file's name is general.architecture, with _ for other signs."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any, cast

from ftllm_nb.checkpoint.base import UNKNOWN_GGUF
from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.metadata import Metadata


class UnknownArchitecture(Architecture):
    """One that has no file here."""

    def __init__(self, file: GgufFile, metadata: Metadata, name: str) -> None:
        super().__init__(file, metadata)
        self.model_type = name

    def config(self) -> dict[str, Any]:
        """As Llama's. A model_type of the same name has tensors of other names."""
        return {**super().config(), UNKNOWN_GGUF: self.model_type}


def supported_architectures() -> list[str]:
    """Those that have a file here."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def architectures_of_files() -> list[str]:
    """The same as files call them."""
    named = ((module, _architecture_class(module).file_architecture) for module in supported_architectures())
    return [own or module for module, own in named]


def architecture(file: GgufFile, name: str) -> Architecture:
    """The architecture that a file names.

    One that is not known is described as Llama is, as far as that goes, and its config has llama.cpp's name as
    model_type: no architecture of ours has it, and a user's own file may. Raises `CheckpointError`.
    """
    metadata = Metadata(file.path, file.metadata, name)
    module = re.sub(r"\W", "_", name)
    if module in supported_architectures():
        return _architecture_class(module).of(file, metadata)
    return UnknownArchitecture(file, metadata, name)


def writing_architectures() -> dict[str, tuple[str, type[Architecture]]]:
    """Those that files can be written of: model_type → general.architecture, and what writing asks for."""
    found: dict[str, tuple[str, type[Architecture]]] = {}
    for module in supported_architectures():
        known = _architecture_class(module)
        for form in (known, *known.forms):
            name = known.file_architecture or module
            found.update(dict.fromkeys(form.writes, (name, cast("type[Architecture]", form))))
    return found


def _architecture_class(module: str) -> type[Architecture]:
    found: type[Architecture] = importlib.import_module(f"{__name__}.{module}").ARCHITECTURE
    return found
