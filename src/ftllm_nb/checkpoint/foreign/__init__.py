"""Folders that other tools quantized, shown as if each quantized matrix were one tensor, `NAME.weight`.

A method is a file of `methods`: the names that config.json's `quant_method` has for it, and what makes matrices of the
tensors. No number is rounded: matrices keep their bits, or become the next larger type that holds them.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType
from typing import Any

from ftllm_nb.checkpoint.base import Checkpoint
from ftllm_nb.checkpoint.config import read_json_object
from ftllm_nb.checkpoint.files import file_mode
from ftllm_nb.checkpoint.foreign import methods
from ftllm_nb.checkpoint.foreign.checkpoint import ForeignCheckpoint
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.float_matrices import float_matrices
from ftllm_nb.checkpoint.foreign.methods import mlx as MLX


@functools.cache
def readers() -> dict[str, ModuleType]:
    """The file that reads each `quant_method`."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(methods.__path__)):
        module = importlib.import_module(f"{methods.__name__}.{name}")
        found.update(dict.fromkeys(module.METHODS, module))
    return found


def method_of(quantization: Any) -> str | None:
    """The `quant_method` of a config's section, where a file here reads it; None for others."""
    if not isinstance(quantization, dict):
        return None
    name = quantization.get("quant_method")
    if name is None and (quantization.get("load_in_4bit") or quantization.get("load_in_8bit")):
        name = "bitsandbytes"  # before quant_method was written
    return name.lower() if isinstance(name, str) and name.lower() in readers() else None


def open_foreign(stored: Checkpoint) -> Checkpoint | None:
    """The checkpoint with its quantized matrices put together, None where no file here reads its method.

    Raises `CheckpointError`, which names the tensor or the entry, where they do not fit each other.
    """
    where = f"{stored.path / 'config.json'}: quantization_config"
    if stored.config.get("quantization_config") is None:
        for module in dict.fromkeys(readers().values()):
            file = stored.path / getattr(module, "BESIDE", "")
            if file != stored.path and file_mode(file) is not None:
                where = str(file)
                stored.config["quantization_config"] = {**read_json_object(file), "quant_method": module.METHODS[0]}
    section = stored.config.get("quantization_config")
    name = method_of(section)
    if isinstance(stored.config.get(MLX.SECTION), dict):
        section, name = stored.config[MLX.SECTION], MLX.METHODS[0]
        where = f"{stored.path / 'config.json'}: {MLX.SECTION}"
        stored.config["quantization_config"] = {**section, "quant_method": name}
    if section is None or name is None:
        return None
    entries = Entries(section, where)
    found = list(readers()[name].matrices(stored, entries))
    if not found:
        raise entries.error(f"has the quant_method {name}, but no tensor is quantized so: the files do not fit")
    return ForeignCheckpoint(stored, found)


def with_float_matrices(stored: Checkpoint) -> Checkpoint:
    """The checkpoint with its matrices of floats of few bits put together, itself where it has none: of methods that
    have others besides."""
    found = list(float_matrices(stored))
    return ForeignCheckpoint(stored, found) if found else stored
