"""Writes GGUF files byte by byte, right or wrong; tests/oracle compares what it writes with the gguf package."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "arr": 9, "u64": 10,
         "i64": 11, "f64": 12}  # fmt: skip
FORMS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f", "bool": "?", "u64": "Q",
         "i64": "q", "f64": "d"}  # fmt: skip
F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8


class Typed(NamedTuple):
    """A value of the metadata with its type in the file; without, integers are u32, floats f32."""

    type: str
    value: Any


class Tensor(NamedTuple):
    """Bytes of a type; `shape` as NumPy counts. `offset`: where the header says that they are, None for the truth."""

    shape: tuple[int, ...]
    type: int
    data: bytes
    offset: int | None = None


def floats(values: Any) -> Tensor:
    """A tensor of float32."""
    array = np.ascontiguousarray(values, np.float32)
    return Tensor(array.shape, F32, array.tobytes())


def text(value: str | bytes) -> bytes:
    """A string as it lies in a file."""
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content)) + content


def value(given: Any) -> bytes:
    """A value of the metadata with its type before it."""
    kind, given = given if isinstance(given, Typed) else (_type(given), given)
    if kind == "arr":
        inner = _type(given[0]) if len(given) else "u32"
        return struct.pack("<I", TYPES["arr"]) + _array(inner, given)
    if kind.endswith("[]"):
        return struct.pack("<I", TYPES["arr"]) + _array(kind[:-2], given)
    return struct.pack("<I", TYPES[kind]) + _plain(kind, given)


def _type(given: Any) -> str:
    if isinstance(given, (list, tuple)):
        return "arr"
    return {bool: "bool", int: "u32", float: "f32", str: "str", bytes: "str"}[type(given)]


def _array(kind: str, given: Sequence[Any]) -> bytes:
    return struct.pack("<IQ", TYPES[kind], len(given)) + b"".join(_plain(kind, each) for each in given)


def _plain(kind: str, given: Any) -> bytes:
    if kind == "arr":
        return _array(_type(given[0]), given)
    return text(given) if kind == "str" else struct.pack("<" + FORMS[kind], given)


def gguf_bytes(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    version: int = 3,
    magic: bytes = b"GGUF",
    counts: tuple[int | None, int | None] = (None, None),
) -> bytes:
    """A whole file. `counts`: of tensors and of entries, where the header is to lie."""
    alignment = metadata.get("general.alignment", 32)
    step = alignment if isinstance(alignment, int) and alignment > 0 else 32
    tensor_count, entry_count = (
        len(real) if claimed is None else claimed for claimed, real in zip(counts, (tensors, metadata), strict=True)
    )
    header = magic + struct.pack("<IQQ", version, tensor_count, entry_count)
    header += b"".join(text(key) + value(each) for key, each in metadata.items())
    data = b""
    for name, tensor in tensors.items():
        sizes = tuple(reversed(tensor.shape))
        offset = len(data) if tensor.offset is None else tensor.offset
        header += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, tensor.type, offset)
        data += tensor.data + bytes(-len(tensor.data) % step)
    return header + bytes(-len(header) % step) + data
