"""One .safetensors file, memory-mapped, its header fully checked before anything is read.

The format: 8 bytes, the header's length as a little-endian integer; the header, a JSON object of tensor
name → {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__"; then the data, which the tensors
fill without gap or overlap, offsets counted from the header's end.
"""

from __future__ import annotations

import json
import math
import mmap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import TensorInfo
from ftllm_nb.checkpoint.config import deeper_than
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.mapped_file import MappedFile
from ftllm_nb.errors import CheckpointError

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library."""
DEEPEST_HEADER = 3
"""Levels of lists and objects: tensors, fields, sizes."""
MOST_DIMENSIONS = 32
"""NumPy 1's limit."""
LARGEST_SIZE = 2**63 - 1
"""Elements or bytes that an array may have, counted without its dimensions of size 0, as NumPy counts."""

_BITS_AND_ARRAY_TYPE: dict[str, tuple[int, str | None]] = {
    "F64": (64, "<f8"),
    "F32": (32, "<f4"),
    "F16": (16, "<f2"),
    "BF16": (16, "<u2"),
    "F8_E5M2": (8, "u1"),
    "F8_E4M3": (8, "u1"),
    "F8_E8M0": (8, "u1"),
    "F6_E2M3": (6, None),
    "F6_E3M2": (6, None),
    "F4": (4, None),
    "C64": (64, "<c8"),
    "I64": (64, "<i8"),
    "I32": (32, "<i4"),
    "I16": (16, "<i2"),
    "I8": (8, "i1"),
    "U64": (64, "<u8"),
    "U32": (32, "<u4"),
    "U16": (16, "<u2"),
    "U8": (8, "u1"),
    "BOOL": (8, "u1"),
}
"""Safetensors type → bits an element, and the array type that shows it (None: smaller than a byte)."""

_FIELD_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_STORED_NAMES = {field_name: stored for stored, field_name in _FIELD_NAMES.items()}


def stored_name(dtype: str) -> str:
    """What files call a type of `TensorInfo`: "F32" for "float32"."""
    return _STORED_NAMES.get(dtype, dtype)


class SafetensorsFile:
    """The tensors of one file, as its header has them; `read`, `release`, `close` as in `Checkpoint`."""

    def __init__(self, path: Path) -> None:
        """Map the file and check its whole header; CheckpointError says what is wrong with it."""
        self.path = path
        self._file = MappedFile(path)
        try:
            self.tensors, self._starts = _checked_header(path, self._file.content)
        except CheckpointError:
            self._file.close()
            raise

    def read(self, name: str) -> NDArray[Any]:
        """The tensor, without a copy unless it lies at an address that does not suit its type."""
        info = self._require(name)
        stored = stored_name(str(info.dtype))
        array_type = _BITS_AND_ARRAY_TYPE[stored][1]
        if array_type is None:
            raise CheckpointError(
                f"{self.path}: tensor {shown(name)} is {stored}, a type that cannot be read."
            )
        return self._file.array(info.shape, array_type, self._starts[name])

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`."""
        self._require(name)
        self._file.read_into(self._starts[name] + start, target)

    def require_unchanged(self) -> None:
        """See `Checkpoint.require_unchanged`."""
        self._file.require_unchanged()

    def release(self, name: str) -> None:
        """Give back the pages of the tensor, and those that page faults brought in around it."""
        if name in self.tensors:
            self._file.release(self._starts[name], self.tensors[name].nbytes)

    def close(self) -> None:
        """Let go of the mapping; the last of the arrays that were read from it unmaps the file."""
        self._file.close()

    def _require(self, name: str) -> TensorInfo:
        self._file.require_open(name)
        if name not in self.tensors:
            raise CheckpointError(f"{self.path} holds no tensor named {shown(name)}.")
        return self.tensors[name]


def _checked_header(path: Path, mapped: mmap.mmap) -> tuple[dict[str, TensorInfo], dict[str, int]]:
    """The tensors of a mapped file and where in the file each begins."""
    size = len(mapped)
    if size < 8:
        raise CheckpointError(f"{path} is {size} bytes long, too short for safetensors: download it again.")
    header_size = int.from_bytes(mapped[:8], "little")
    if header_size > LARGEST_HEADER:
        raise CheckpointError(
            f"{path} claims a header of {header_size:,} bytes, more than the {LARGEST_HEADER:,} that "
            "safetensors allows: it is damaged or no safetensors file."
        )
    data_start = 8 + header_size
    if data_start > size:
        raise CheckpointError(
            f"{path} is truncated: it claims a header of {header_size:,} bytes but is only {size:,} bytes "
            "long, so download the file again."
        )
    header = _parsed_header(path, mapped[8:data_start])
    metadata = header.pop("__metadata__", None)
    if metadata is not None and not isinstance(metadata, dict):
        raise CheckpointError(f"{path} has a __metadata__ that is no JSON object: it is damaged.")
    ranges = {name: _checked_entry(path, name, entry) for name, entry in header.items()}
    _check_layout(path, ranges, size - data_start)
    tensors = {name: info for name, (info, _) in ranges.items()}
    return tensors, {name: data_start + begin for name, (_, begin) in ranges.items()}


def _parsed_header(path: Path, content: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise CheckpointError(f"{path} names {shown(twice)} twice in its header: it is damaged.")
        return result

    try:
        header = json.loads(content.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise CheckpointError(
            f"{path} has a header that is not valid JSON: it is damaged or no safetensors file."
        ) from None
    if not isinstance(header, dict) or deeper_than(header, DEEPEST_HEADER):
        raise CheckpointError(
            f"{path} has a header that is no object of tensors: it is damaged or no safetensors file."
        )
    return header


def _checked_entry(path: Path, name: str, entry: object) -> tuple[TensorInfo, int]:
    """One tensor of the header, and the offset in the data where it begins."""
    where = f"{path}: tensor {shown(name)}"
    if not name.isprintable():
        raise CheckpointError(f"{where} has a name with unprintable characters: the file is damaged.")
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where} is described by no JSON object: the file is damaged.")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS_AND_ARRAY_TYPE:
        raise CheckpointError(
            f"{where} is of the unknown type {shown(dtype)}; known are {', '.join(_BITS_AND_ARRAY_TYPE)}."
        )
    bits, _ = _BITS_AND_ARRAY_TYPE[dtype]
    if not _is_list_of_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise CheckpointError(
            f"{where} has the shape {shown(shape)}: expected a list of at most {MOST_DIMENSIONS} sizes."
        )
    if math.prod(size or 1 for size in shape) * bits > LARGEST_SIZE:
        raise CheckpointError(f"{where} has the shape {shown(shape)}, which is larger than any memory.")
    if not _is_list_of_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(
            f"{where} has the data_offsets {shown(offsets)}: expected [begin, end] with 0 ≤ begin ≤ end."
        )
    needed_bits, nbytes = math.prod(shape) * bits, offsets[1] - offsets[0]
    if needed_bits != nbytes * 8:
        raise CheckpointError(
            f"{where} of shape {shown(shape)} and type {dtype} needs {-(-needed_bits // 8):,} bytes, "
            f"but its data_offsets span {nbytes:,}."
        )
    return TensorInfo(name, tuple(shape), _FIELD_NAMES.get(dtype, dtype), nbytes), offsets[0]


def _is_list_of_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= LARGEST_SIZE for item in value)


def _check_layout(path: Path, ranges: Mapping[str, tuple[TensorInfo, int]], data_size: int) -> None:
    """Tensors must fill the data from first to last byte, each beginning where the one before ends."""
    filled = 0
    for info, begin in sorted(ranges.values(), key=lambda item: (item[1], item[1] + item[0].nbytes)):
        if begin < filled:
            raise CheckpointError(f"{path}: tensor {shown(info.name)} overlaps another: the file is damaged.")
        if begin > filled:
            raise CheckpointError(
                f"{path}: nothing describes the {begin - filled:,} bytes before tensor {shown(info.name)}: "
                "the file is damaged."
            )
        filled = begin + info.nbytes
    if filled > data_size:
        raise CheckpointError(
            f"{path} is truncated: its tensors need {filled:,} bytes and it holds {data_size:,}, "
            "so download the file again."
        )
    if filled < data_size:
        raise CheckpointError(
            f"{path} holds {data_size - filled:,} bytes after its last tensor: the file is damaged."
        )
