"""A GGUF file before it is written: its header's bytes, and a file that the reader takes for it."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.header import ARRAY, DEFAULT_ALIGNMENT, MAGIC, NUMBERS, STRING, VERSIONS, GgufTensor
from ftllm_nb.checkpoint.gguf.types import GGML_TYPES

_KINDS = {np.dtype(name): kind for kind, name in NUMBERS.items()}
_TYPE_NUMBERS = {type.name: (number, type) for number, type in GGML_TYPES.items()}
_UINT32, _INT32, _FLOAT32, _BOOLEAN = 4, 5, 6, 7


class DraftFile(GgufFile):
    """What a file of these entries and tensors will be; it holds the numbers of `contents` alone.

    `metadata`: as in `GgufFile`; integers are written as uint32 or int32, floats as float32, which they are rounded to.
    `shapes`: ggml's type and the shape of each tensor, in their order in the file.
    `header`: the file's bytes up to the data; `size`: its bytes in all.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, Any],
        shapes: Mapping[str, tuple[str, tuple[int, ...]]],
        contents: Mapping[str, NDArray[np.float32]],
    ) -> None:
        self.path = path
        self._files = []
        self._contents = contents
        self.metadata = {
            key: float(np.float32(value)) if isinstance(value, float) else value for key, value in metadata.items()
        }
        described, offset = [], 0
        tensors: dict[str, GgufTensor] = {}
        for name, (type_name, shape) in shapes.items():
            number, type = _TYPE_NUMBERS[type_name]
            nbytes = math.prod(shape) // type.block * type.block_bytes
            sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
            described.append(_text(name) + sizes + struct.pack("<IQ", number, offset))
            tensors[name] = GgufTensor(name, shape, type_name, offset, nbytes)
            offset += _aligned(nbytes)
        entries = [_text(key) + _value(value) for key, value in metadata.items()]
        counts = struct.pack("<IQQ", max(VERSIONS), len(described), len(entries))
        header = b"".join([MAGIC, counts, *entries, *described])
        self.header = header + bytes(_aligned(len(header)) - len(header))
        self.size = len(self.header) + offset
        self.tensors = {
            name: GgufTensor(name, each.shape, each.type, len(self.header) + each.start, each.nbytes)
            for name, each in tensors.items()
        }

    def bytes_of(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor of `contents`."""
        return np.ascontiguousarray(self._contents[name], "<f4").reshape(-1).view(np.uint8)


def _aligned(size: int) -> int:
    return -(-size // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _text(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _value(value: Any) -> bytes:
    """A value of the metadata, its type before it."""
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOLEAN, value)
    if isinstance(value, int):
        return struct.pack("<Ii", _INT32, value) if value < 0 else struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _text(value)
    if isinstance(value, list):
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_text, value))
    array = np.ascontiguousarray(value)
    return struct.pack("<IIQ", ARRAY, _KINDS[array.dtype], array.size) + array.tobytes()
