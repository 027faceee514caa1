"""A model's GGUF file, or all files of one that is split (NAME-00001-of-00003.gguf)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.files import file_mode, shown
from ftllm_nb.checkpoint.gguf.header import GgufTensor, read_header
from ftllm_nb.checkpoint.mapped_file import MappedFile
from ftllm_nb.errors import CheckpointError

SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")
SPLIT_COUNT, SPLIT_NUMBER, SPLIT_TENSORS = "split.count", "split.no", "split.tensors.count"


class GgufFile:
    """Metadata and tensors; made by `read_gguf`.

    path        what was opened
    metadata    key → a number, boolean or string; arrays of numbers as NumPy arrays, of strings as lists
    tensors     name → `GgufTensor`

    Bytes may be read by several threads; `close` only once none of them reads any more.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: Mapping[str, GgufTensor]

    def __init__(self, path: Path, files: list[Path]) -> None:
        """Map the files, `path`'s model in the order of its parts, and check their headers."""
        self.path = path
        self._files: list[MappedFile] = []
        try:
            self.metadata, self.tensors = self._read_headers(files)
        except CheckpointError:
            self.close()
            raise

    def bytes_of(self, name: str) -> NDArray[np.uint8]:
        """The tensor's bytes as they lie in the file, uint8 [nbytes], read-only and without a copy.

        Raises CheckpointError for an unknown name, a closed file, and one that became shorter since it was opened.
        """
        tensor, file = self._require(name)
        return file.array((tensor.nbytes,), "u1", tensor.start)

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """Copy the tensor's bytes from `start` on into `target`, past the mapping."""
        tensor, file = self._require(name)
        file.read_into(tensor.start + start, target)

    def release(self, name: str) -> None:
        """Say that the tensor is not needed soon: its pages leave this process's resident memory."""
        if name in self.tensors:
            tensor = self.tensors[name]
            self._files[tensor.part].release(tensor.start, tensor.nbytes)

    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid."""
        for file in self._files:
            file.close()

    def _require(self, name: str) -> tuple[GgufTensor, MappedFile]:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{self.path} holds no tensor named {shown(name)}.")
        file = self._files[tensor.part]
        file.require_open(name)
        return tensor, file

    def _read_headers(self, paths: list[Path]) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
        metadata: dict[str, Any] = {}
        tensors: dict[str, GgufTensor] = {}
        for part, path in enumerate(paths):
            file = MappedFile(path)
            self._files.append(file)
            header = read_header(path, file.content, part)
            number, count = header.metadata.get(SPLIT_NUMBER, 0), header.metadata.get(SPLIT_COUNT, 1)
            if (number, count or 1) != (part, len(paths)):
                raise CheckpointError(
                    f"{path} says it is part {shown(number)} of {shown(count)}, counted from 0, but lies here as part "
                    f"{part} of {len(paths)}: give all files of the model the names that they were published with."
                )
            metadata = {**header.metadata, **metadata}
            for name in header.tensors:
                if name in tensors:
                    raise CheckpointError(
                        f"{path} holds the tensor {shown(name)}, and so does another part: the files do not belong "
                        "together, so download the model again."
                    )
            tensors.update(header.tensors)
        expected = metadata.get(SPLIT_TENSORS, len(tensors))
        if expected != len(tensors) and len(paths) > 1:
            raise CheckpointError(
                f"{paths[0]} says that the model has {shown(expected)} tensors, but its {len(paths)} files hold "
                f"{len(tensors)}: they do not belong together, so download the model again."
            )
        return metadata, tensors


def read_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """Open a GGUF file, or a split model by any of its files: reads all metadata and the descriptions of tensors.

    Raises `CheckpointError`, one sentence that names the file, for everything that is missing, damaged or unknown. What
    kind of model it is, or whether it is one at all, is not looked at.
    """
    file = Path(os.path.expanduser(path))
    return GgufFile(file, _parts(file))


def _parts(path: Path) -> list[Path]:
    """All files of the model that `path` is a file of."""
    split = SPLIT_NAME.fullmatch(path.name)
    if split is None or file_mode(path) is None:
        return [path]
    count = int(split["count"])
    if not 1 <= int(split["number"]) <= count:
        return [path]
    names = (f"{split['stem']}-{number:05d}-of-{split['count']}.gguf" for number in range(1, count + 1))
    files = [path.with_name(name) for name in names]
    missing = [file for file in files if file_mode(file) is None]
    if missing:
        more = f" and {len(missing) - 1} more of its {count} files" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{missing[0]}{more}, without which {path.name} is no whole model, is missing: download it."
        )
    return files
