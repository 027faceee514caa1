"""Tensors of a model, what becomes of each, and the tensors of a file that stand for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors import WeightScheme
from ftllm_nb.quantized_type import BlockedType, QuantizedType, ScaledType

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


def copied(tensor: PlannedTensor) -> OutputTensor:
    """The output that holds a tensor as the model stores it."""
    stored = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}.get(tensor.dtype, tensor.dtype)
    return OutputTensor(tensor.name, stored, tensor.shape, tensor.nbytes)


def copied_rows(tensor: PlannedTensor, first: int, rows: NDArray[Any]) -> Piece:
    """Rows of such an output."""
    return Piece(copied(tensor), first * (rows.nbytes // max(len(rows), 1)), np.ascontiguousarray(rows))
