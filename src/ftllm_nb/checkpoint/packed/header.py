"""The header of a folder of packed matrices: config.json's `quantization_config`, in and out."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.packed.blocks import LAYOUT, Form, form_of
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import BlockedType, QuantizedType, ScaledType

QUANT_METHOD = "ftllm-nb-packed"
VERSION = 2
"""Of the header and of what it means; what has another one is refused."""
_CHECKSUM = re.compile("[0-9a-f]{16}")
_AGAIN = "make it again with ftllm-nb quantize --format packed"


@dataclass(frozen=True)
class PackedMatrix:
    """A matrix, or a stack of `count` of them, how its blocks lie, and the checksum of their bytes
    (checkpoint/checksum.py). `shape`: [rows, columns], or [count, rows, columns]."""

    shape: tuple[int, ...]
    form: Form
    checksum: int

    @property
    def stored_shape(self) -> tuple[int, int]:
        """[blocks, bytes of a block] of all matrices."""
        blocks, size = self.form.shape(self.shape[-2], self.shape[-1])
        return math.prod(self.shape[:-2]) * blocks, size


def is_packed(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of packed matrices."""
    quantization = config.get("quantization_config")
    return isinstance(quantization, dict) and quantization.get("quant_method") == QUANT_METHOD


def write_header(
    matrices: Mapping[str, tuple[tuple[int, ...], QuantizedType | BlockedType | ScaledType, int]],
) -> dict[str, Any]:
    """The header of matrices: name → (shape, type, checksum)."""
    header = {
        "quant_method": QUANT_METHOD,
        "version": VERSION,
        "layout": LAYOUT,
        "tensors": {
            name: {"shape": list(shape), "dtype": str(dtype), "checksum": f"{total:016x}"}
            for name, (shape, dtype, total) in matrices.items()
        },
    }
    return {**header, "checksum": _checksum(header)}


def read_header(config: Mapping[str, Any], where: str) -> dict[str, PackedMatrix]:
    """The matrices by name. `where`, the file's path, begins the sentences of the `CheckpointError`s.

    Raised for another version or layout, for a header that is not what was written, and for entries that are none.
    """
    header = config["quantization_config"]
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{where} is of version {shown(header.get('version'))} of packed models, and this ftllm-nb reads version "
            f"{VERSION}: {_AGAIN}."
        )
    if header.get("layout") != LAYOUT:
        raise CheckpointError(
            f"{where} is of packed matrices in the layout {shown(header.get('layout'))}, and the kernels here read "
            f"{LAYOUT}: {_AGAIN}."
        )
    tensors = header.get("tensors")
    expected = _checksum({name: value for name, value in header.items() if name != "checksum"})
    if header.get("checksum") != expected or not isinstance(tensors, dict):
        raise CheckpointError(
            f"{where} has a quantization_config that does not match its own checksum: it was changed, so {_AGAIN}."
        )
    return {name: _matrix(entry, f"{where}: the packed tensor {shown(name)}") for name, entry in tensors.items()}


def _matrix(entry: Any, where: str) -> PackedMatrix:
    shape, dtype, total = map(entry.get, ("shape", "dtype", "checksum")) if isinstance(entry, dict) else (None,) * 3
    sizes: list[Any] = shape if isinstance(shape, list) else []
    if len(sizes) not in (2, 3) or not all(type(n) is int and 0 < n < 1 << 40 for n in sizes):
        raise CheckpointError(f"{where} has the shape {shown(shape)}, but [rows, columns] was expected.")
    form = form_of(dtype) if isinstance(dtype, str) else None
    if form is None:
        raise CheckpointError(f"{where} is of type {shown(dtype)}, which is none of packed matrices.")
    if not isinstance(total, str) or _CHECKSUM.fullmatch(total) is None:
        raise CheckpointError(f"{where} has the checksum {shown(total)}, but 16 hexadecimal digits were expected.")
    return PackedMatrix(tuple(sizes), form, int(total, 16))


def _checksum(header: Mapping[str, Any]) -> str:
    """SHA-256 of the header without its checksum, whatever the order of its entries."""
    return hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
