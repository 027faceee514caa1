"""A folder for ftllm-nb alone, its matrices laid out as in memory, so that a start only reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.compressed_tensors import PACK_QUANTIZED, WeightScheme
from ftllm_nb.checkpoint.packed import BlockForm, KeptForm, PackedMatrix, ScaledForm, write_header
from ftllm_nb.engine.weight_types import embedding_type
from ftllm_nb.errors import UsageError
from ftllm_nb.quant import weight_types
from ftllm_nb.quantization.formats.base import OutputFormat
from ftllm_nb.quantization.plan import AUTO
from ftllm_nb.quantization.rows import QuantizedRows
from ftllm_nb.quantization.tensors import OutputTensor, Piece, PlannedTensor, copied, copied_rows
from ftllm_nb.quantized_type import BlockedType, QuantizedType, ScaledType, is_quantized

if TYPE_CHECKING:
    from ftllm_nb.quantization.options import QuantizeOptions
    from ftllm_nb.quantization.run import FolderJob


class Packed(OutputFormat):
    """Matrices are what the engine makes of float weights that it quantizes while they load, embeddings included."""

    def types(self) -> Mapping[str, QuantizedType | BlockedType]:
        return {name: type for name, type in weight_types().items() if isinstance(type, QuantizedType | BlockedType)}

    def dtypes(self) -> list[str]:
        return [*super().dtypes(), AUTO]

    def beside(self, bits: float, symmetric: bool) -> str:
        if bits >= 8 or not symmetric:  # zero points are for types of whole numbers
            return super().beside(bits, symmetric)
        return "q6_k" if bits >= 6.5625 else "q5_k" if bits >= 5.5 else "iq4_nl"

    def check(self, options: QuantizeOptions) -> None:
        if options.dtype == AUTO:
            return
        super().check(options)
        if not options.symmetric and isinstance(self.types()[options.dtype], BlockedType):
            raise UsageError(
                f"--asymmetric is for types of whole numbers, as int4g32: {options.dtype} has minimums or has none."
            )

    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> FolderJob:
        if options.dtype == AUTO and not any(is_quantized(info.dtype) for info in checkpoint.tensors.values()):
            raise UsageError(
                "--dtype auto keeps the types of a GGUF file or of another tool's quantized folder: of floats, name a "
                "type to pack."
            )
        return super().job(checkpoint, options)

    def scheme(self, bits: int, group: int, symmetric: bool) -> WeightScheme:
        return WeightScheme(bits, group, symmetric, PACK_QUANTIZED, spread=bits == 8 and symmetric)

    def table_dtype(self, dtype: str) -> str:
        return embedding_type(dtype)

    def outputs(self, tensor: PlannedTensor) -> tuple[OutputTensor, ...]:
        if tensor.kept is not None:
            matrix = PackedMatrix(tensor.shape, kept_form(tensor.kept), 0)
            return (OutputTensor.of(tensor.name, "U8", matrix.stored_shape),)
        if tensor.blocks is not None:
            return (OutputTensor.of(tensor.name, "U8", kept_form(tensor.blocks).shape(*tensor.shape)),)
        if tensor.scheme is None:
            return (copied(tensor),)
        rows, columns = tensor.shape
        return (OutputTensor.of(tensor.name, "U8", block_form(tensor.scheme).shape(rows, columns)),)

    def pieces(self, tensor: PlannedTensor, first: int, rows: QuantizedRows | NDArray[Any]) -> Iterator[Piece]:
        (output,) = self.outputs(tensor)
        if not isinstance(rows, QuantizedRows):
            is_laid = tensor.blocks is not None
            yield Piece(output, first // 16 * output.shape[1], rows) if is_laid else copied_rows(tensor, first, rows)
            return
        assert tensor.scheme is not None
        blocks = block_form(tensor.scheme).pack(rows.numbers, rows.scales, rows.zero_points, tensor.shape[1])
        yield Piece(output, first // 16 * output.shape[1], blocks)

    def config(
        self, config: dict[str, Any], tensors: Sequence[PlannedTensor], sums: Mapping[str, int]
    ) -> dict[str, Any]:
        matrices = {
            tensor.name: (tensor.shape, type, sums.get(tensor.name, 0))
            for tensor in tensors
            if (type := _packed_type(tensor)) is not None
        }
        return {**config, "quantization_config": write_header(matrices)}

    def notes(self, tensors: Sequence[PlannedTensor]) -> list[str]:
        return ["only ftllm-nb loads a packed folder: other programs take --format compressed_tensors."]


def _packed_type(tensor: PlannedTensor) -> QuantizedType | BlockedType | ScaledType | None:
    return tensor.rounded_type or tensor.kept


def kept_form(type: QuantizedType | BlockedType | ScaledType) -> BlockForm | KeptForm | ScaledForm:
    """How the blocks of a matrix lie that is not rounded again."""
    if isinstance(type, ScaledType):
        return ScaledForm(type)
    return BlockForm(type) if isinstance(type, QuantizedType) else KeptForm(type)


def block_form(scheme: WeightScheme) -> BlockForm:
    """How the blocks of a scheme's numbers lie."""
    return BlockForm(scheme.type)


FORMAT = Packed()
