"""Where each tensor of a folder will lie, known before the first is made: files, headers, offsets.

Files are named and indexed as Hugging Face's are. Within a file, tensors come first whose sizes are multiples of more,
so that every tensor begins at a multiple of its elements' size, and most matrices at one of 64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftllm_nb.checkpoint.recognise import SINGLE_FILE
from ftllm_nb.quantization.tensors import OutputTensor

ALIGNMENT = 64
"""Data begin at a multiple of this in a file."""


@dataclass(frozen=True)
class Shard:
    """One file. `header`: its bytes up to the data. `starts`: where in the file each tensor begins."""

    name: str
    header: bytes
    starts: dict[str, int]
    size: int


@dataclass(frozen=True)
class Layout:
    """All files with tensors; `index`: what model.safetensors.index.json is to hold, None for a single file.

    `is_file`: the one file is all that is made, and no folder.
    """

    shards: tuple[Shard, ...]
    index: str | None
    is_file: bool = False


def lay_out(groups: Sequence[Sequence[OutputTensor]], largest: int) -> Layout:
    """Files of at most `largest` bytes of tensors, but that a group, which stays together, may need more."""
    files: list[list[OutputTensor]] = [[]]
    room = largest
    for group in groups:
        size = sum(tensor.nbytes for tensor in group)
        if size > room and files[-1]:
            files.append([])
            room = largest
        files[-1].extend(group)
        room -= size
    count = len(files)
    names = [SINGLE_FILE] if count == 1 else [f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]
    shards = tuple(_shard(name, tensors) for name, tensors in zip(names, files, strict=True))
    if count == 1:
        return Layout(shards, None)
    total = sum(tensor.nbytes for tensors in files for tensor in tensors)
    weight_map = {tensor.name: name for name, tensors in zip(names, files, strict=True) for tensor in tensors}
    return Layout(shards, json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")


def _shard(name: str, tensors: Sequence[OutputTensor]) -> Shard:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offsets, end = {}, 0
    for tensor in sorted(tensors, key=_alignment, reverse=True):
        offsets[tensor.name] = end
        end += tensor.nbytes
        entries[tensor.name] = {
            "dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offsets[tensor.name], end],
        }  # fmt: skip
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    return Shard(name, header, {each: len(header) + offset for each, offset in offsets.items()}, len(header) + end)


def _alignment(tensor: OutputTensor) -> int:
    """What the bytes of a tensor are a multiple of: a power of two, of at most `ALIGNMENT`."""
    return math.gcd(tensor.nbytes, ALIGNMENT)
