"""What a form of output is, and of folders which tensors stand for a tensor of the model, and what lies in them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.compressed_tensors import WeightScheme
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import describe
from ftllm_nb.quant import quantized_types
from ftllm_nb.quantization.gguf.as_floats import as_floats
from ftllm_nb.quantization.methods import DEFAULT, method_module
from ftllm_nb.quantization.rows import QuantizedRows
from ftllm_nb.quantization.unstacked import unstacked
from ftllm_nb.quantized_type import BlockedType, QuantizedType, ScaledType

if TYPE_CHECKING:
    from ftllm_nb.quantization.job import Progress, QuantizeJob, QuantizeOptions

ITEM_BYTES = {"I64": 8, "F64": 8, "I32": 4, "F32": 4, "BF16": 2, "F16": 2, "I8": 1, "U8": 1}
"""Bytes of an element, by the name that safetensors gives its type; types that are copied only are not here."""


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of a file that is to be written: `dtype` is safetensors' name of its type."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @classmethod
    def of(cls, name: str, dtype: str, shape: Sequence[int]) -> OutputTensor:
        """One of a known type."""
        return cls(name, dtype, tuple(shape), math.prod(shape) * ITEM_BYTES[dtype])


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the model and what becomes of it.

    `dtype`: as in `TensorInfo`. `is_linear`: other programs may hold it in a Linear module, as a matrix of products or
    one of a part that is not computed here. `scheme`: how its numbers are quantized, `blocks`: the block type of ggml
    that it is rounded to; both None where it stays as it is.
    `note`: why it got another type than was asked for, "" where it did not.
    `turned`: the model's file has its axes the other way: `shape` is that of what is written.
    `kept`: the type of a matrix that the model has quantized, and that is not rounded again; None for others.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    is_linear: bool
    scheme: WeightScheme | None
    note: str = ""
    turned: bool = False
    kept: QuantizedType | BlockedType | ScaledType | None = None
    blocks: BlockedType | None = None

    @property
    def rounded_type(self) -> QuantizedType | BlockedType | None:
        """The type whose numbers its floats become."""
        return self.scheme.type if self.scheme is not None else self.blocks

    @property
    def is_rounded(self) -> bool:
        """Whether they do."""
        return self.rounded_type is not None


@dataclass(frozen=True)
class Piece:
    """Bytes that go into an output tensor from `offset` on. Each tensor's pieces come in order, without gaps."""

    tensor: OutputTensor
    offset: int
    content: NDArray[Any]


class Job(Protocol):
    """A model and what is to be made of it."""

    @property
    def unread_tensors(self) -> list[str]:
        """Those of the model that no operator reads."""

    def notes(self) -> list[str]:
        """Sentences that are worth saying once."""

    def table(self) -> str:
        """What will be made, a line a tensor."""

    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""

    def write(self, out: Path, threads: int, *, resume: bool, replace: bool, progress: Progress | None = None) -> None:
        """Make it; what stays where that fails is as `quantize` of quantization/run.py says."""

    def summary(self) -> str:
        """What was made, in a few words."""

    def unquantized(self) -> str:
        """Which matrices are not quantized, in a few words; "" where all are."""


class Output(ABC):
    """What `--format` names. `default_dtype`, `default_method`: what `--dtype` and `--method` are where nobody says."""

    default_dtype: str = "int4g128"
    default_method: str = DEFAULT

    @abstractmethod
    def dtypes(self) -> list[str]:
        """What `--dtype` may be."""

    def rule_dtypes(self) -> list[str] | None:
        """What rules of `--dtype_config` may name; None for the types of `--dtype` while a model loads."""
        return None

    def beside(self, bits: float) -> str:
        """What `--dtype` is beside `--bits`: the type of matrices of whose inputs nothing is known."""
        return "int8g32" if bits >= 8 else "int4g32"

    @abstractmethod
    def check(self, options: QuantizeOptions) -> None:
        """Raise `UsageError` for options that are none, or not for this form."""

    @abstractmethod
    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> Job:
        """What is to be made of a model. Raises `FtllmError`s for what cannot be done; reads no weight."""


class OutputFormat(Output):
    """How quantized models lie in folders."""

    def types(self) -> Mapping[str, QuantizedType | BlockedType]:
        """The types that matrices can have, by the names that `--dtype` gives them."""
        return quantized_types()

    def dtypes(self) -> list[str]:
        return list(self.types())

    def check(self, options: QuantizeOptions) -> None:
        if options.dtype not in self.types():
            raise UsageError(
                f"{options.dtype!r} is no type of quantized weights in folders: use {', '.join(self.types())}."
            )
        method_module(options.method)

    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> QuantizeJob:
        from ftllm_nb.quantization.job import QuantizeJob  # which knows the forms of folders

        floats = as_floats(checkpoint, keep=options.dtype == "auto")
        if options.custom is None and options.dtype != "auto":
            floats = unstacked(floats, describe(floats))
        return QuantizeJob(floats, options)

    @abstractmethod
    def scheme(self, bits: int, group: int, symmetric: bool) -> WeightScheme:
        """How the rows' numbers are to be laid: see kernels/quantize_rows.py."""

    def mixed_dtypes(self) -> list[str]:
        """The types that `--bits` chooses from."""
        return list(self.types())

    def table_dtype(self, dtype: str) -> str:
        """What embeddings and the matrix that makes logits become where others become `dtype`: "auto", as they are."""
        return "auto"

    @abstractmethod
    def outputs(self, tensor: PlannedTensor) -> tuple[OutputTensor, ...]:
        """The tensors that stand for a tensor of the model."""

    @abstractmethod
    def pieces(self, tensor: PlannedTensor, first: int, rows: QuantizedRows | NDArray[Any]) -> Iterator[Piece]:
        """What the rows from `first` on, a multiple of 16, are in the outputs of their tensor.

        Rows are quantized where the tensor has a scheme; where it has blocks, uint8 [blocks of 16 rows, bytes], as they
        lie in memory; else bytes, uint8 [rows, bytes], as the model stores them.
        """

    @abstractmethod
    def config(
        self, config: dict[str, Any], tensors: Sequence[PlannedTensor], sums: Mapping[str, int]
    ) -> dict[str, Any]:
        """The new folder's config.json, from the model's. `sums`: checksums of the outputs, by name, all of them or
        none: the text is as long without.
        """

    def notes(self, tensors: Sequence[PlannedTensor]) -> list[str]:
        """Sentences on where the folder can be used and where not."""
        return []


def copied(tensor: PlannedTensor) -> OutputTensor:
    """The output that holds a tensor as the model stores it."""
    stored = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}.get(tensor.dtype, tensor.dtype)
    return OutputTensor(tensor.name, stored, tensor.shape, tensor.nbytes)


def copied_rows(tensor: PlannedTensor, first: int, rows: NDArray[Any]) -> Piece:
    """Rows of such an output."""
    return Piece(copied(tensor), first * (rows.nbytes // max(len(rows), 1)), np.ascontiguousarray(rows))
