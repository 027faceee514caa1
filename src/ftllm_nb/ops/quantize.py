"""Quantize: activations to 8 bits for products with integer weights. Made where such weights are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.activation_rows import LEAST_MAGNITUDE, ORIGIN_VALUE, RECORD_BYTES, SCALE_MASK, origin
from ftllm_nb.kernels.quantize import quantize
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Tensor, features

QUANTIZED_PARAMETERS = (
    Parameter("columns", Kind.INT),
    Parameter("group", Kind.INT),
    Parameter("middle", Kind.INT),
    Parameter("output", Kind.OUTPUT),
)
"""The last parameters of operators whose output is quantized; kernels/quantize.py says how a token's row lies."""


class Quantize(Operator):
    """output = input in groups of `group` of its features, padded with zeros to `columns`, a scale for each group."""

    public = False
    parameters = (Parameter("input", Kind.INPUT), *QUANTIZED_PARAMETERS)

    @staticmethod
    def infer(input: TensorType, columns: int, group: int, middle: int) -> TensorType:
        return input.with_shape(*input.shape[:2], row_words(columns, group))

    @staticmethod
    def reference(step: StepContext, input: Array, columns: int, group: int, middle: int) -> Array:
        return quantize_rows(input, columns, group, middle)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_quantized(node, lowering, quantize, node.inputs["input"], node.inputs["input"])


def row_words(columns: int, group: int) -> int:
    """4-byte words of a token's row."""
    return (columns + RECORD_BYTES * (columns // group)) // 4


def lower_quantized(node: LoweredNode, lowering: Lowering, kernel: Any, first: Tensor, second: Tensor) -> None:
    """A row of one of kernels/quantize.py's elementwise kernels."""
    a, b, out = lowering.place(first), lowering.place(second), lowering.place(node.outputs["output"])
    columns = int(node.attributes["columns"])
    lowering.need_scratch(4 * columns)
    lowering.add(
        kernel, a.address, a.stride, b.address, b.stride, out.address, out.stride, features(first), columns,
        int(node.attributes["group"]), int(node.attributes["middle"]), lowering.count(first),
    )  # fmt: skip


def quantized_arguments(node: LoweredNode, lowering: Lowering) -> tuple[int, ...]:
    """The arguments of the norms in kernels/quantize.py that say how to quantize."""
    columns = int(node.attributes["columns"])
    lowering.need_scratch(4 * columns)
    return columns, int(node.attributes["group"]), int(node.attributes["middle"])


def quantize_rows(values: Array, columns: int, group: int, middle: int) -> Array:
    """[…, features] float32 to […, words]: the bytes of each row, seen as float32."""
    shape = values.shape[:2]
    padded = np.zeros((*shape, columns), np.float32)
    flat = values.reshape(*shape, -1)
    padded[..., : flat.shape[-1]] = flat
    groups = padded.reshape(*shape, columns // group, group)
    largest = np.abs(groups).max(-1)
    is_large = ~(largest < np.float32(LEAST_MAGNITUDE))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = np.where(is_large, np.float32(127) / largest, np.float32(0))
        scales = np.where(is_large, largest / np.float32(127), np.float32(0)).astype(np.float32)
        scales = (scales.view(np.int32) & SCALE_MASK).view(np.float32)
        offsets = np.float32(-ORIGIN_VALUE) * scales
        scales = np.where(np.isinf(offsets), -offsets, scales)
        steps = np.nan_to_num(np.rint(groups * inverse[..., None])).astype(np.int8)
    starts = (origin(middle) - middle * steps.sum(-1, dtype=np.int64)).astype(np.int32)
    records = np.stack([scales, starts.view(np.float32), offsets], -1)
    parts = [steps.reshape(*shape, columns).view(np.float32), records.reshape(*shape, -1)]
    return np.concatenate(parts, -1)
