"""A Hugging Face folder in the compressed-tensors layout, which transformers and vLLM load as well.

Modules are meant by the names that they have in those programs. These differ from those of tensors where a model has
parts beside its text part: the same part is called `vision_tower` or `model.vision_tower`, and the text part has two
names. So there modules are meant by expressions that hold for each name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors import (
    INT_QUANTIZED,
    PACK_QUANTIZED,
    REGULAR,
    WeightScheme,
    pack_zero_points,
    write_config,
)
from ftllm_nb.checkpoint.compressed_tensors.packing import packed_size
from ftllm_nb.checkpoint.compressed_tensors.tensors import PACKED, SCALE, SHAPE, WEIGHT, ZERO_POINT
from ftllm_nb.quant import quantized_types
from ftllm_nb.quantization.formats.base import OutputFormat
from ftllm_nb.quantization.rows import QuantizedRows
from ftllm_nb.quantization.tensors import OutputTensor, Piece, PlannedTensor, copied, copied_rows

LINEAR = "Linear"
LOGITS_MODULE = "lm_head"
"""The module that makes logits, also where its matrix is the embedding's."""
TEXT_PART = re.compile(r"(?:model\.)?language_model\.(?:model\.)?")
"""What the names of a text part's modules begin with."""
VLLM_GROUPS = (0, 32, 64, 128)
"""Sizes of groups that vLLM's kernels take."""
JOINED = re.compile(r"(?:[qkv]|gate|up)_proj$")
"""The names of modules that vLLM joins, those that read the same input in a module, and that have one type there."""


class CompressedTensors(OutputFormat):
    """Rows of 8 bits with one scale are a byte each, for products with int8 activations; all else is packed words."""

    def scheme(self, bits: int, group: int, symmetric: bool) -> WeightScheme:
        if bits == 8 and group == 0 and symmetric:
            return WeightScheme(bits, group, symmetric, INT_QUANTIZED, int8_activations=True)
        return WeightScheme(bits, group, symmetric, PACK_QUANTIZED)

    def mixed_dtypes(self) -> list[str]:
        return [name for name, type in quantized_types().items() if type.group in VLLM_GROUPS]

    def outputs(self, tensor: PlannedTensor) -> tuple[OutputTensor, ...]:
        scheme = tensor.scheme
        if scheme is None:
            return (copied(tensor),)
        rows, columns = tensor.shape
        module, groups = module_of(tensor.name), scheme.groups(columns)
        scales = OutputTensor.of(module + SCALE, "F16", (rows, groups))
        if scheme.layout != PACK_QUANTIZED:
            return OutputTensor.of(module + WEIGHT, "I8", (rows, columns)), scales
        packed = OutputTensor.of(module + PACKED, "I32", (rows, packed_size(columns, scheme.bits)))
        shape = OutputTensor.of(module + SHAPE, "I64", (2,))
        if scheme.symmetric:
            return packed, scales, shape
        words = packed_size(rows, scheme.bits)
        return packed, scales, shape, OutputTensor.of(module + ZERO_POINT, "I32", (words, groups))

    def pieces(self, tensor: PlannedTensor, first: int, rows: QuantizedRows | NDArray[Any]) -> Iterator[Piece]:
        if not isinstance(rows, QuantizedRows):
            yield copied_rows(tensor, first, rows)
            return
        assert tensor.scheme is not None
        numbers, scales, *others = self.outputs(tensor)
        yield Piece(numbers, first * rows.numbers.shape[1], rows.numbers)
        yield Piece(scales, first * rows.scales.shape[1] * 2, rows.scales)
        if others and first == 0:
            yield Piece(others[0], 0, np.array(tensor.shape, "<i8"))
        if rows.zero_points is not None:
            signed = (rows.zero_points - np.uint8(1 << (tensor.scheme.bits - 1))).view(np.int8)
            words = pack_zero_points(signed, tensor.scheme.bits)
            yield Piece(others[1], packed_size(first, tensor.scheme.bits) * words.shape[1] * 4, words)

    def config(
        self, config: dict[str, Any], tensors: Sequence[PlannedTensor], sums: Mapping[str, int]
    ) -> dict[str, Any]:
        schemes, ignored = targets(tensors)
        return {**config, "quantization_config": write_config(schemes, ignored)}

    def notes(self, tensors: Sequence[PlannedTensor]) -> list[str]:
        foreign = sorted(
            {tensor.scheme.name for tensor in tensors if tensor.scheme and tensor.scheme.group not in VLLM_GROUPS}
        )
        notes = [f"vLLM does not load {' and '.join(foreign)}: ftllm-nb and transformers do."] if foreign else []
        if not notes and _has_joined_of_several_types(tensors):
            notes.append("vLLM joins q, k and v, or gate and up, and loads them only where they have one type: "
                         "ftllm-nb and transformers load this folder.")
        return notes


def _has_joined_of_several_types(tensors: Sequence[PlannedTensor]) -> bool:
    schemes: dict[str, set[WeightScheme | None]] = {}
    for tensor in tensors:
        parent, _, name = module_of(tensor.name).rpartition(".")
        if JOINED.match(name):
            schemes.setdefault(parent, set()).add(tensor.scheme)
    return any(len(each) > 1 for each in schemes.values())


def module_of(name: str) -> str:
    """The module whose weight a tensor is."""
    return name.removesuffix(WEIGHT)


def targets(tensors: Sequence[PlannedTensor]) -> tuple[dict[str, WeightScheme], list[str]]:
    """The schemes by target, and what means the modules that none of them means.

    The most frequent scheme is that of all Linear modules; others are given by the modules' names.
    """
    quantized = {module_of(tensor.name): tensor.scheme for tensor in tensors if tensor.scheme is not None}
    by_count = list(quantized.values())
    schemes: dict[str, WeightScheme] = {}
    if by_count:
        main = max(dict.fromkeys(by_count), key=by_count.count)
        schemes = {under_any_name(module): scheme for module, scheme in quantized.items() if scheme != main}
        schemes[LINEAR] = main
    floats = [module_of(tensor.name) for tensor in tensors if tensor.is_linear and tensor.scheme is None]
    ignored = ignored_names(floats, quantized)
    if not any(module.rpartition(".")[2] == LOGITS_MODULE for module in (*quantized, *floats)):
        ignored.append(LOGITS_MODULE)
    return schemes, ignored


def ignored_names(floats: Sequence[str], quantized: Collection[str]) -> list[str]:
    """What means these modules: those of a part in which nothing is quantized all together, others one by one."""
    whole = {part_of(module) for module in floats} - {part_of(module) for module in quantized} - {LOGITS_MODULE}
    names = (
        rf"{REGULAR}(?:model\.)?{re.escape(part_of(module))}(?:\.|$)"
        if part_of(module) in whole
        else under_any_name(module)
        for module in floats
    )
    return list(dict.fromkeys(names))


def part_of(module: str) -> str:
    """The part of the model that a module belongs to: `vision_tower`, `layers`."""
    return module.removeprefix("model.").partition(".")[0]


def under_any_name(module: str) -> str:
    """What means a module of a text part under each of its names; the name of one of a model that is all text."""
    place = TEXT_PART.match(module)
    if place is None:
        return module
    name = module[place.end() :]
    before = r"(?:.*\.)?" if name == LOGITS_MODULE else TEXT_PART.pattern
    return f"{REGULAR}{before}{re.escape(name)}$"


FORMAT = CompressedTensors()
