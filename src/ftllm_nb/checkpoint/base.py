"""What every checkpoint offers, whether it lies in a folder or is made up on the spot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import ElementType

UNKNOWN_GGUF = "gguf_architecture"
"""The entry of a config with the name of a GGUF file's architecture that is not known, and was read as Llama is."""
SomeCheckpoint = TypeVar("SomeCheckpoint", bound="Checkpoint")


@dataclass(frozen=True)
class TensorInfo:
    """What a file's header says of a tensor.

    `dtype` is "float32", "float16" or "bfloat16"; any other type keeps its safetensors name ("I64",
    "F8_E4M3"). A quantized matrix counts as one tensor, of a `QuantizedType`, `BlockedType` or `ScaledType`. `nbytes`
    is the size in the file; `stored` what the file calls its type, where it has names of its own ("Q4_K").
    """

    name: str
    shape: tuple[int, ...]
    dtype: ElementType
    nbytes: int
    stored: str = ""


@dataclass(frozen=True)
class StoredIntegers:
    """A quantized matrix as its file has it: weight = (number − zero point) · scale.

    `numbers`: int8 [rows, columns], or int32 [rows, words] in which they are packed (compressed_tensors/packing.py).
    `scales` [rows, groups]: float32, float16, or bfloat16's bits as uint16. `zero_points`: int8 [rows, groups] or None.
    """

    numbers: NDArray[Any]
    scales: NDArray[Any]
    zero_points: NDArray[np.int8] | None


@dataclass(frozen=True)
class StoredScaled:
    """A matrix of codes: weight = what a code stands for (codes.py) · scale, plus an offset.

    `codes`: uint8 [rows, bytes of a row]; of 4 bits, an even column lies in the lower ones. `scales` and `offsets`,
    which may be None, [rows, groups]: float32, float16, or bfloat16's bits as uint16.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[Any]
    offsets: NDArray[Any] | None = None


class Checkpoint(ABC):
    """A model's configuration and its tensors by name, read one at a time.

    `config` is config.json, a dict that its user may change; `generation_config` and `tokenizer_config` are
    {} where the folder has no such file. `tokenizer_metadata` has the tokenizer where weights and tokenizer are one
    file, and is None for folders. `read` and `release` may be called from several threads; `close` only once none of
    them reads any more.
    """

    path: Path
    config: dict[str, Any]
    generation_config: dict[str, Any]
    tokenizer_config: dict[str, Any]
    tokenizer_metadata: Mapping[str, Any] | None = None
    tensors: Mapping[str, TensorInfo]
    notes: Sequence[str] = ()
    """Sentences that whoever loads the model is told."""

    @abstractmethod
    def read(self, name: str) -> NDArray[Any]:
        """The tensor as a read-only array of its shape.

        float32 and float16 come as such, bfloat16 as its bits in uint16; integers as themselves, booleans and
        8-bit floats as their bits in uint8. Raises `CheckpointError` for an unknown name, a closed
        checkpoint, a type that no array can hold, and a file that became shorter since it was opened.

        A quantized matrix comes as the float32 that its numbers stand for.
        """

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """Copy the tensor's stored bytes from `start` on into `target`, C-contiguous uint8, and keep none of its pages.

        Raises `CheckpointError` as `read` does, and where the system cannot read the file: reading what `read` gave
        would end the process there.
        """
        stored = np.ascontiguousarray(self.read(name)).reshape(-1).view(np.uint8)
        target.reshape(-1)[:] = stored[start : start + target.size]

    def read_integers(self, name: str) -> StoredIntegers:
        """A quantized matrix as it is stored; `CheckpointError` as for `read`, and where it contradicts itself."""
        raise CheckpointError(f"{self.path} holds no quantized tensor named {shown(name)}.")

    def read_scaled(self, name: str) -> StoredScaled:
        """A matrix of a `ScaledType` as codes; `CheckpointError` as for `read`."""
        raise CheckpointError(f"{self.path} holds no tensor of codes named {shown(name)}.")

    def column_order(self, name: str) -> NDArray[np.int32] | None:
        """Of a matrix whose columns `read_integers` gives in another order than inputs have: column i is the inputs'
        order[i]. None for others."""
        return None

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """A matrix of a `BlockedType` as stored, uint8 [rows, bytes of a row]; `CheckpointError` as for `read`."""
        raise CheckpointError(f"{self.path} holds no tensor of blocks named {shown(name)}.")

    def is_packed(self, name: str) -> bool:
        """Whether the tensor's bytes, which `read_into` gives, are those that the engine keeps in memory."""
        return False

    def check_sum(self, name: str, found: int) -> None:
        """Raise `CheckpointError` where a packed tensor's bytes, of the checksum `found` (checkpoint/checksum.py), are
        not those that were written.
        """
        raise CheckpointError(f"{self.path} holds no packed tensor named {shown(name)}.")

    def mapped(self, name: str) -> NDArray[np.uint8]:
        """A packed tensor's bytes where they lie in its file, read-only: the system reads pages when they are touched,
        and drops them where memory is short. `CheckpointError` as for `read`."""
        raise CheckpointError(f"{self.path} holds no packed tensor named {shown(name)}.")

    def require_unchanged(self) -> None:  # noqa: B027  # no file, no change
        """Raise `CheckpointError` where a file was written or became shorter since it was opened; to be called before
        what `mapped` gave is used again."""

    @abstractmethod
    def release(self, name: str) -> None:
        """Say that the tensor is not needed soon: its pages leave this process's resident memory.

        Arrays that were read stay valid; touching them again loads the pages again.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid; nothing more can be read."""

    def __enter__(self: SomeCheckpoint) -> SomeCheckpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
