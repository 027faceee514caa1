"""Folders of the matrices that make_foreign.py has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.hostile.spoiling import entry, safetensors_bytes

_FILE = Path(__file__).with_name("foreign.npz")


def foreign_names(begin: str = "") -> list[str]:
    """The cases whose names begin so."""
    with np.load(_FILE) as archive:
        return sorted({name.partition("|")[0] for name in archive if name.startswith(begin)})


class ForeignCase:
    """A case: `config`, the config.json's section; `types` and `tensors` by name; `expected`, float32 [out, in]."""

    def __init__(self, name: str) -> None:
        with np.load(_FILE) as archive:
            parts = {key.partition("|")[2]: archive[key] for key in archive if key.partition("|")[0] == name}
        self.expected: NDArray[np.float32] = parts.pop("expected")
        facts = json.loads(str(parts.pop("config")))
        self.config: dict[str, Any] = facts["config"]
        self.types: dict[str, str] = facts["types"]
        self.tensors: dict[str, NDArray[Any]] = parts

    def write(self, folder: Path, **entries: Any) -> Path:
        """A folder of the matrix, with these entries of quantization_config beside its own."""
        folder.mkdir(exist_ok=True)
        section = {**self.config, **entries}
        entry = "quantization_config" if "quant_method" in section else "quantization"
        (folder / "config.json").write_text(json.dumps({"model_type": "llama", entry: section}))
        tensors = {name: (self.types[name], each) for name, each in self.tensors.items()}
        write_typed(folder / "model.safetensors", tensors)
        return folder


def write_typed(path: Path, tensors: dict[str, tuple[str, NDArray[Any]]]) -> None:
    """A safetensors file of arrays and their types as safetensors names them."""
    header, data = {}, bytearray()
    for name, (dtype, array) in tensors.items():
        content = np.ascontiguousarray(array).tobytes()
        header[name] = entry(list(array.shape), len(data), len(data) + len(content), dtype)
        data += content
    path.write_bytes(safetensors_bytes(header, bytes(data)))
