"""Writes a folder of transformers as a GGUF file, as llama.cpp's converter lays out each architecture."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.numpy
from gguf import GGUFWriter

from tests.oracle import gguf_kinds
from tests.oracle.gguf_kinds.common import Array, Kind, layers_of, write_common

KINDS: dict[str, Kind] = {}
"""By model_type."""
for _module in pkgutil.iter_modules(gguf_kinds.__path__):
    KINDS |= getattr(importlib.import_module(f"{gguf_kinds.__name__}.{_module.name}"), "KINDS", {})


def write_gguf(folder: Path, path: Path, quantize: Callable[[str, Array], tuple[Array, Any]] | None = None) -> None:
    """Write the model of a folder. `quantize`: a tensor's data and ggml type, by its name; float32 without."""
    config = json.loads((folder / "config.json").read_text())
    kind = KINDS[config["model_type"]]
    writer = GGUFWriter(path, gguf.MODEL_ARCH_NAMES[kind.arch])
    writer.add_type("model")
    if kind.common:
        write_common(writer, config)
    kind.settings(writer, config)
    names = gguf.get_tensor_name_map(kind.arch, layers_of(config))

    def add(name: str, values: Array) -> None:
        target = names.get_name(name, try_suffixes=(".weight", ".bias")) or name
        data, dtype = (values, None) if quantize is None else quantize(target, values)
        writer.add_tensor(target, np.ascontiguousarray(data), raw_dtype=dtype)

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    config["tensors"] = tensors
    for name in sorted(tensors):
        for each, values in kind.tensors(name, tensors[name].astype(np.float32), config):
            add(each, values)
    for name, values in kind.extra(config):
        writer.add_tensor(name, np.asarray(values, np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
