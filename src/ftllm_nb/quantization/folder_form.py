"""How a quantized model lies in a folder: its types, and which tensors with which bytes stand for a tensor of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors import WeightScheme
from ftllm_nb.quant import quantized_types
from ftllm_nb.quantization.rows import QuantizedRows
from ftllm_nb.quantization.tensors import OutputTensor, Piece, PlannedTensor
from ftllm_nb.quantized_type import BlockedType, QuantizedType


class FolderForm(ABC):
    """What planning and making a folder ask of its form."""

    def types(self) -> Mapping[str, QuantizedType | BlockedType]:
        """The types that matrices can have, by the names that `--dtype` gives them."""
        return quantized_types()

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
