"""What stands before the tensors' data in one GGUF file, fully checked before anything is read.

The format, little endian: "GGUF"; version, uint32; counts of tensors and of metadata entries, uint64; the entries, each
a key, a value's type and a value; the tensors, each a name, its sizes with the row's length first, a type and an
offset; then, at the next multiple of the alignment, the data, which offsets are counted from. A string is its length,
uint64, and UTF-8; an array the type and count of its values, and these.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.gguf.texts import common_texts
from ftllm_nb.checkpoint.gguf.types import GGML_TYPES, REMOVED
from ftllm_nb.errors import CheckpointError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_DIMENSIONS = 4
"""ggml's limit."""
LARGEST_SIZE = 2**63 - 1
DEFAULT_ALIGNMENT = 32
ALIGNMENT = "general.alignment"

NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""Types of values that are numbers or booleans, as NumPy names them."""
STRING, ARRAY = 8, 9
"""The other types of values."""
_SMALLEST_ENTRY = 8 + 4 + 1
"""Bytes: the length of an empty key, a type, a value of one byte."""
_SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8
_LIKELY_BYTES = 32
"""Of a string and its length: few vocabularies take more."""


@dataclass(frozen=True)
class GgufTensor:
    """A tensor as a header describes it.

    `shape`: as NumPy counts, [rows, columns] for a matrix; `type`: ggml's name of its type, "Q4_K"; `start`: where in
    its file it begins; `nbytes`: its size there. `part`: the file, counted from 0, where a model is split into several.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    start: int
    nbytes: int
    part: int = 0


@dataclass(frozen=True)
class Header:
    """The metadata and the tensors of one file."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_header(path: Path, content: mmap.mmap, part: int = 0) -> Header:
    """The header of a mapped file. Raises `CheckpointError`, one sentence, for what is damaged or unknown."""
    cursor = _Cursor(path, content)
    require_magic(path, content[:8])
    cursor.position = 8
    tensor_count, entry_count = cursor.number("<Q"), cursor.number("<Q")
    for count, smallest, what in (
        (entry_count, _SMALLEST_ENTRY, "entries of metadata"),
        (tensor_count, _SMALLEST_TENSOR, "tensors"),
    ):
        if count * smallest > cursor.rest:
            raise CheckpointError(
                f"{path} claims {count:,} {what}, more than its {cursor.size:,} bytes can hold: it is truncated or "
                "damaged, so download it again."
            )
    metadata: dict[str, Any] = {}
    for _ in range(entry_count):
        key = cursor.name("an entry of the metadata")
        if key in metadata:
            raise CheckpointError(f"{path} names {shown(key)} twice in its metadata: it is damaged.")
        metadata[key] = cursor.value(key, cursor.number("<I"))
    alignment = _alignment(path, metadata)
    described = [_described_tensor(cursor) for _ in range(tensor_count)]
    data_start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, shape, type_name, offset, nbytes in described:
        if name in tensors:
            raise CheckpointError(f"{path} names the tensor {shown(name)} twice: it is damaged.")
        if offset % alignment:
            raise CheckpointError(
                f"{path}: tensor {shown(name)} begins at {offset:,}, which is no multiple of the alignment {alignment}"
                ": the file is damaged."
            )
        tensors[name] = GgufTensor(name, shape, type_name, data_start + offset, nbytes, part)
    _check_layout(path, tensors, cursor.size)
    return Header(metadata, tensors)


class _Cursor:
    """Reads values from `position` on, none beyond the file's end."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path = path
        self._content = content
        self.size = len(content)
        self.position = 0

    @property
    def rest(self) -> int:
        return self.size - self.position

    def take(self, count: int, what: str = "its header") -> int:
        """Go on by `count` bytes; where they begin."""
        if count > self.rest:
            raise CheckpointError(
                f"{self.path} is truncated: it ends at {self.size:,} bytes, in the middle of {what} "
                f"({count:,} bytes from {self.position:,} on), so download the file again."
            )
        start = self.position
        self.position += count
        return start

    def number(self, form: str) -> Any:
        return struct.unpack_from(form, self._content, self.take(struct.calcsize(form)))[0]

    def text(self, what: str) -> str:
        length = self.number("<Q")
        start = self.take(length, what)
        try:
            return self._content[start : start + length].decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.path}: {what} is not UTF-8 text: the file is damaged.") from None

    def name(self, what: str) -> str:
        name = self.text(f"the name of {what}")
        if not name or not name.isprintable():
            raise CheckpointError(f"{self.path}: {what} has the name {shown(name)}: the file is damaged.")
        return name

    def value(self, key: str, kind: int) -> Any:
        """A value of the metadata: a Python number, string or boolean, an array of numbers, or a list of strings."""
        if kind in NUMBERS:
            array_type = np.dtype(NUMBERS[kind])
            start = self.take(array_type.itemsize, f"the value of {key}")
            return np.frombuffer(self._content[start : start + array_type.itemsize], array_type)[0].item()
        if kind == STRING:
            return self.text(f"the value of {key}")
        if kind != ARRAY:
            raise CheckpointError(
                f"{self.path}: the value of {shown(key)} is of the unknown type {kind}: the file is damaged, or newer "
                "than this program."
            )
        kind, count = self.number("<I"), self.number("<Q")
        if kind == ARRAY:
            raise CheckpointError(
                f"{self.path}: the value of {shown(key)} is an array of arrays, which no model's metadata is: the "
                "file is damaged."
            )
        if kind == STRING:
            return self._texts(key, count)
        if kind not in NUMBERS:
            raise CheckpointError(
                f"{self.path}: the value of {shown(key)} is an array of the unknown type {kind}: the file is damaged, "
                "or newer than this program."
            )
        array_type = np.dtype(NUMBERS[kind])
        nbytes = count * array_type.itemsize
        start = self.take(nbytes, f"the {count:,} numbers of {key}")
        return np.frombuffer(self._content[start : start + nbytes], array_type)

    def _texts(self, key: str, count: int) -> list[str]:
        """Strings one after the other; a vocabulary has hundreds of thousands, so that each step counts."""
        what = f"the {count:,} strings of {key}"
        if count * 8 > self.rest:
            self.take(count * 8, what)
        likely = self._content[self.position : self.position + _LIKELY_BYTES * (count + 1)]
        if (found := common_texts(likely, count)) is not None:
            texts, nbytes = found
            self.position += nbytes
            return texts
        content, size, position = self._content, self.size, self.position
        length_at = struct.Struct("<Q").unpack_from
        texts = []
        try:
            for _ in range(count):
                if position + 8 > size:
                    break
                end = position + 8 + length_at(content, position)[0]
                if end > size:
                    break
                texts.append(content[position + 8 : end].decode("utf-8"))
                position = end
        except UnicodeDecodeError:
            raise CheckpointError(
                f"{self.path}: string {len(texts)} of {shown(key)} is not UTF-8 text: the file is damaged."
            ) from None
        self.position = position
        if len(texts) < count:
            self.take(self.rest + 1, what)
        return texts


def require_magic(path: Path, start: bytes) -> None:
    """Raise `CheckpointError` for the first 8 bytes of a file that is no GGUF file, or none that is read."""
    if start[:4] != MAGIC:
        old = start[:4] in (b"ggml", b"lmgg", b"ggjt", b"tjgg", b"ggmf", b"fmgg", b"ggla", b"algg")
        what = "is a file of llama.cpp from before GGUF, which cannot be read" if old else "is no GGUF file"
        begins = f"it begins with {shown(start[:4].decode('latin-1'))}"
        raise CheckpointError(f"{path} {what} ({begins}): download the model's .gguf again.")
    if len(start) < 8:
        raise CheckpointError(f"{path} is truncated: it is {len(start)} bytes long, so download the file again.")
    version = int.from_bytes(start[4:8], "little")
    if version in VERSIONS:
        return
    if int.from_bytes(start[4:8], "big") <= 0xFFFF:
        raise CheckpointError(
            f"{path} is a GGUF file in big-endian order, made for other processors: download the little-endian one."
        )
    older = "a file of 2023: download a newer one" if version < 2 else "newer than this program"
    raise CheckpointError(
        f"{path} is a GGUF file of version {version}, {older}; versions {' and '.join(map(str, VERSIONS))} are read."
    )


def _alignment(path: Path, metadata: dict[str, Any]) -> int:
    alignment = metadata.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise CheckpointError(f"{path}: {ALIGNMENT} is {shown(alignment)}, but a power of two is expected.")
    return alignment


def _described_tensor(cursor: _Cursor) -> tuple[str, tuple[int, ...], str, int, int]:
    """(name, shape, type, offset, size in bytes) of the next tensor."""
    name = cursor.name("a tensor")
    where = f"{cursor.path}: tensor {shown(name)}"
    dimensions = cursor.number("<I")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise CheckpointError(f"{where} has {dimensions:,} dimensions: expected 1 to {MOST_DIMENSIONS}.")
    sizes = [cursor.number("<Q") for _ in range(dimensions)]
    number, offset = cursor.number("<I"), cursor.number("<Q")
    if number in REMOVED:
        raise CheckpointError(
            f"{where} is of the type {REMOVED[number]}, which llama.cpp no longer has: download the model in Q4_0 or "
            "another type."
        )
    if number not in GGML_TYPES:
        known = ", ".join(each.name for each in GGML_TYPES.values())
        raise CheckpointError(f"{where} is of the unknown type {number}; known are {known}.")
    ggml = GGML_TYPES[number]
    shape = tuple(reversed(sizes))
    if 0 in sizes or math.prod(sizes) * ggml.block_bytes > LARGEST_SIZE:
        raise CheckpointError(f"{where} has the shape {shown(list(shape))}, which no tensor has: the file is damaged.")
    if sizes[0] % ggml.block:
        raise CheckpointError(
            f"{where} has rows of {sizes[0]:,} numbers, which blocks of {ggml.block} ({ggml.name}) do not divide: the "
            "file is damaged."
        )
    return name, shape, ggml.name, offset, math.prod(sizes) // ggml.block * ggml.block_bytes


def _check_layout(path: Path, tensors: dict[str, GgufTensor], size: int) -> None:
    """No tensor may reach into another one or beyond the file's end."""
    end = 0
    for tensor in sorted(tensors.values(), key=lambda each: each.start):
        if tensor.start < end:
            raise CheckpointError(f"{path}: tensor {shown(tensor.name)} overlaps another: the file is damaged.")
        end = tensor.start + tensor.nbytes
        if end > size:
            raise CheckpointError(
                f"{path} is truncated: tensor {shown(tensor.name)} ends at {end:,} and the file at {size:,} bytes, so "
                "download the file again."
            )
