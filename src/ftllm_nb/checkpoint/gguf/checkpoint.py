"""A GGUF file as a checkpoint: Hugging Face's names and config, the file's own numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredIntegers, TensorInfo
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.checkpoint.gguf.architectures import architecture
from ftllm_nb.checkpoint.gguf.file import GgufFile, read_gguf
from ftllm_nb.checkpoint.gguf.generation import generation_entries
from ftllm_nb.checkpoint.gguf.integers import INTEGER_TYPES, stored_integers
from ftllm_nb.checkpoint.gguf.kinds import require_language_model
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import BlockedType

_ARRAY_TYPES = {
    "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
}  # fmt: skip
"""Types whose bytes are an array as they are; bfloat16 as its bits."""
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class GgufCheckpoint(Checkpoint):
    """A language model in GGUF; made by `open_gguf`.

    `tokenizer_metadata` is all of the file's metadata; `sources`: what each tensor is made of. Entries of it that may
    change what is computed, and that nothing read, are in `config` under their own names.
    """

    def __init__(self, file: GgufFile) -> None:
        """Read the config and what tensors are made of; CheckpointError for a file that is no model known here."""
        self.path = file.path
        self.file = file
        found = architecture(file, require_language_model(file))
        self.config = found.config()
        self.config |= found.metadata.unread()
        self.generation_config = generation_entries(file.metadata)
        self.tokenizer_config = {}
        self.tokenizer_metadata = file.metadata
        self.sources = found.sources()
        self.tensors = {name: self._info(name, source) for name, source in self.sources.items()}

    def _info(self, name: str, source: Source) -> TensorInfo:
        tensor = self.file.tensors[source.name]
        dtype: Any = _FLOATS.get(tensor.type, tensor.type)
        if source.is_computed or tensor.type not in _ARRAY_TYPES:
            dtype = "float32"
        if tensor.type not in _ARRAY_TYPES and len(source.shape) in (2, 3) and not source.is_computed:
            dtype = INTEGER_TYPES.get(tensor.type) or BlockedType(tensor.type)
        nbytes = tensor.nbytes * math.prod(source.shape) // max(math.prod(tensor.shape), 1)
        return TensorInfo(name, source.shape, dtype, nbytes, tensor.type)

    def read(self, name: str) -> NDArray[Any]:
        """The tensor; a matrix in blocks as the float32 that they stand for."""
        source, rows = self._rows(name)
        kind = self.file.tensors[source.name].type
        array = rows.view(_ARRAY_TYPES[kind]) if kind in _ARRAY_TYPES else dequantize(kind, rows)
        if source.plus:
            array = np.add(array, np.float32(source.plus), dtype=np.float32)
        if source.is_decay:
            if not (array <= 0).all():
                raise CheckpointError(
                    f"{self.path}: tensor {shown(source.name)} should hold numbers of at most 0, by which states "
                    "decay, but some are not: download the file again."
                )
            with np.errstate(divide="ignore"):
                array = np.log(-array.astype(np.float64)).astype(np.float32)
        array = array.reshape(source.shape)
        array.flags.writeable = False
        return array

    def read_integers(self, name: str) -> StoredIntegers:
        """See `Checkpoint.read_integers`; of the types of blocks that are integers with a scale for 32 columns."""
        source, rows = self._rows(name)
        kind = self.file.tensors[source.name].type
        if kind not in INTEGER_TYPES:
            return super().read_integers(name)
        stored = stored_integers(kind, rows)
        self.release(name)  # what was read is copies, and both in memory would be most of what loading needs
        return stored

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.read_blocks`."""
        return self._rows(name)[1]

    def release(self, name: str) -> None:
        """Give back the pages of what the tensor is made of."""
        if name in self.sources:
            self.file.release(self.sources[name].name)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def _rows(self, name: str) -> tuple[Source, NDArray[np.uint8]]:
        """What a tensor is made of, and its rows' bytes [rows, bytes of a row]."""
        source = self.sources.get(name)
        if source is None:
            raise CheckpointError(f"{self.path} holds no tensor named {shown(name)}.")
        tensor = self.file.tensors[source.name]
        is_vector = len(tensor.shape) == 1 and tensor.type in _ARRAY_TYPES
        count = tensor.shape[0] if is_vector else math.prod(tensor.shape[:-1])
        stored = self.file.bytes_of(source.name).reshape(count, -1)
        if source.rows is not None:
            stored = np.ascontiguousarray(stored[source.rows])
        return source, stored


def open_gguf(path: Path) -> GgufCheckpoint:
    """Open a GGUF file, or a split model by any of its files. Raises `CheckpointError`."""
    file = read_gguf(path)
    try:
        return GgufCheckpoint(file)
    except CheckpointError:
        file.close()
        raise
