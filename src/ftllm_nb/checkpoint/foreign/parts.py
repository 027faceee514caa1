"""The tensors that stand for one quantized matrix, found by their endings, their types and shapes checked."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm_nb.checkpoint.base import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError

FLOATS = ("float32", "float16", "bfloat16")


class Parts:
    """The tensors of the module `name` (`model.layers.0.mlp.up_proj`)."""

    def __init__(self, stored: Checkpoint, name: str) -> None:
        self.stored = stored
        self.name = name
        self.used: list[str] = []

    def find(self, ending: str) -> TensorInfo | None:
        """The tensor of that ending, which belongs to the matrix from now on; None where there is none."""
        info = self.stored.tensors.get(self.name + ending)
        if info is not None and info.name not in self.used:
            self.used.append(info.name)
        return info

    def require(self, ending: str, dtypes: Sequence[str], axes: int | None = None) -> TensorInfo:
        """A tensor of one of some types, not empty."""
        info = self.find(ending)
        if info is None:
            raise CheckpointError(
                f"{self.stored.path}: tensor {shown(self.name + ending)} is missing, which belongs to the quantized "
                f"matrix {shown(self.name)}: download the model again."
            )
        self.require_type(info, dtypes)
        if 0 in info.shape or (axes is not None and len(info.shape) != axes):
            raise self.error(info.name, f"has the shape {list(info.shape)}, but {axes or 'some'} axes were expected")
        return info

    def require_type(self, info: TensorInfo, dtypes: Sequence[str]) -> None:
        """Raise `CheckpointError` for a tensor of another type."""
        if info.dtype not in dtypes:
            raise self.error(info.name, f"is of type {info.dtype}; supported are {', '.join(dtypes)}")

    def require_shape(self, info: TensorInfo, *expected: Sequence[int], because: str) -> None:
        """Raise `CheckpointError` for a tensor of none of these shapes."""
        if list(info.shape) not in [list(each) for each in expected]:
            raise self.error(
                info.name, f"has the shape {list(info.shape)}, but {list(expected[0])} was expected for {because}"
            )

    def error(self, name: str, what: str) -> CheckpointError:
        """An error that begins with a tensor's name."""
        return CheckpointError(f"{self.stored.path}: tensor {shown(name)} {what}.")

    @property
    def nbytes(self) -> int:
        """Of all that the matrix consists of."""
        return sum(self.stored.tensors[name].nbytes for name in self.used)
