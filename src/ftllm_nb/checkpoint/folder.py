"""A Hugging Face model folder: configuration files and one or many .safetensors files."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint
from ftllm_nb.checkpoint.compressed_tensors.config import read_config
from ftllm_nb.checkpoint.config import read_json_object, read_optional_json_object
from ftllm_nb.checkpoint.files import file_mode, shown
from ftllm_nb.checkpoint.foreign import open_foreign, with_float_matrices
from ftllm_nb.checkpoint.gguf.checkpoint import open_gguf
from ftllm_nb.checkpoint.gguf.locate import gguf_at
from ftllm_nb.checkpoint.packed import PackedCheckpoint, is_packed
from ftllm_nb.checkpoint.quantized import QuantizedCheckpoint
from ftllm_nb.checkpoint.recognise import INDEX_FILE, SINGLE_FILE, require_model_folder, require_readable_tensors
from ftllm_nb.checkpoint.safetensors import SafetensorsFile
from ftllm_nb.errors import CheckpointError


class FolderCheckpoint(Checkpoint):
    """A checkpoint on disk; made by `open_checkpoint`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = read_json_object(path / "config.json")
        self.generation_config = read_optional_json_object(path / "generation_config.json")
        self.tokenizer_config = read_optional_json_object(path / "tokenizer_config.json")
        self._files: list[SafetensorsFile] = []
        try:
            self._file_of = self._open_weights()
        except CheckpointError:
            self.close()
            raise
        self.tensors = {name: file.tensors[name] for name, file in self._file_of.items()}

    def _open_weights(self) -> dict[str, SafetensorsFile]:
        """Tensor name → the file that holds it."""
        if file_mode(self.path / SINGLE_FILE) is not None:
            file = self._open_file(SINGLE_FILE)
            if not file.tensors:
                raise CheckpointError(f"{file.path} holds no tensors: download the file again.")
            return dict.fromkeys(file.tensors, file)
        shard_of = _read_index(self.path / INDEX_FILE)
        missing = sorted(shard for shard in set(shard_of.values()) if file_mode(self.path / shard) is None)
        if missing:
            more = f" and {len(missing) - 1} more of its files" if len(missing) > 1 else ""
            raise CheckpointError(
                f"{self.path / missing[0]}{more}, which {INDEX_FILE} names, is missing: download the model "
                "again."
            )
        opened = {shard: self._open_file(shard) for shard in sorted(set(shard_of.values()))}
        for name, shard in shard_of.items():
            if name not in opened[shard].tensors:
                raise CheckpointError(
                    f"{self.path / shard} does not hold the tensor {shown(name)}, though {INDEX_FILE} says "
                    "so: the files do not belong together, so download the model again."
                )
        return {name: opened[shard] for name, shard in shard_of.items()}

    def _open_file(self, file_name: str) -> SafetensorsFile:
        file = SafetensorsFile(self.path / file_name)
        self._files.append(file)
        return file

    def _file(self, name: str) -> SafetensorsFile:
        file = self._file_of.get(name)
        if file is None:
            raise CheckpointError(f"{self.path} holds no tensor named {shown(name)}.")
        return file

    def read(self, name: str) -> NDArray[Any]:
        """The tensor, without a copy where its address suits its type."""
        return self._file(name).read(name)

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`: from the file, past the mapping."""
        self._file(name).read_into(name, start, target)

    def require_unchanged(self) -> None:
        """See `Checkpoint.require_unchanged`."""
        for file in self._files:
            file.require_unchanged()

    def release(self, name: str) -> None:
        """Give back the tensor's pages."""
        self._file(name).release(name)

    def close(self) -> None:
        """Unmap all files."""
        for file in self._files:
            file.close()


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a Hugging Face model folder, or a GGUF file: reads its configuration and the headers of its weights.

    Raises CheckpointError, one sentence that names the file, for everything that is missing, damaged or
    contradicts itself.
    """
    folder = Path(os.path.expanduser(path))
    gguf = gguf_at(folder)
    if gguf is not None:
        return open_gguf(gguf)
    require_model_folder(folder)
    checkpoint = FolderCheckpoint(folder)
    try:
        if is_packed(checkpoint.config):
            return PackedCheckpoint(checkpoint)
        foreign = open_foreign(checkpoint)
        if foreign is not None:
            return foreign
        require_readable_tensors(folder, checkpoint.config, checkpoint.tensors)
        quantization = read_config(checkpoint.config, str(folder / "config.json"))
        if quantization is None:
            return checkpoint
        return QuantizedCheckpoint(with_float_matrices(checkpoint), quantization)
    except CheckpointError:
        checkpoint.close()
        raise


def _read_index(path: Path) -> dict[str, str]:
    """Tensor name → file name, from a shard index."""
    shard_of = read_json_object(path).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise CheckpointError(f'{path} holds no "weight_map" object that says which file holds which tensor.')
    for name, shard in shard_of.items():
        if not isinstance(shard, str) or not shard.endswith(".safetensors") or not shard.isprintable():
            raise CheckpointError(
                f"{path} names {shown(shard)} for {shown(name)}: expected a .safetensors file."
            )
        if _leaves_folder(shard):
            raise CheckpointError(f"{path} names the file {shown(shard)}, which lies outside the folder.")
    return shard_of


def _leaves_folder(name: str) -> bool:
    """Whether a relative path is absolute or climbs up, as POSIX or as Windows reads it."""
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or bool(windows.drive or windows.root)
    return absolute or ".." in windows.parts
