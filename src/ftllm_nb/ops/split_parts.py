"""SplitParts: activations as one or two bfloat16 each, for products with bfloat16 weights. Made where AMX does them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.bf16_parts import STEP_COLUMNS, TILE_ROWS, split_kernel
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Tensor, features

SPLIT_PARAMETERS = (
    Parameter("columns", Kind.INT),
    Parameter("parts", Kind.INT),
    Parameter("output", Kind.OUTPUT),
)
"""The last parameters of operators whose output is in parts; kernels/bf16_parts.py says how they lie."""


class SplitParts(Operator):
    """output = input, each number as the sum of `parts` bfloat16, in tiles; zeros up to `columns`."""

    public = False
    parameters = (Parameter("input", Kind.INPUT), *SPLIT_PARAMETERS)

    @staticmethod
    def infer(input: TensorType, columns: int, parts: int) -> TensorType:
        return input.with_shape(*input.shape[:2], parts * columns // 2)

    @staticmethod
    def reference(step: StepContext, input: Array, columns: int, parts: int) -> Array:
        return split_rows(input, columns, parts)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        kernel = split_kernel(int(node.attributes["parts"]))
        lower_split(node, lowering, kernel, node.inputs["input"], node.inputs["input"])


def lower_split(node: LoweredNode, lowering: Lowering, kernel: Any, first: Tensor, second: Tensor) -> None:
    """A row of one of kernels/bf16_parts.py's kernels."""
    a, b, out = lowering.place(first), lowering.place(second), lowering.place(node.outputs["output"])
    lowering.add(
        kernel, a.address, a.stride, b.address, b.stride, out.address, out.stride, features(first),
        int(node.attributes["columns"]), lowering.count(first),
    )  # fmt: skip


def split_rows(values: Array, columns: int, parts: int) -> Array:
    """[…, features] float32 to [1, tokens, words]: the bytes of the tiles, seen as float32."""
    rows = values.reshape(-1, values.shape[-1])
    left = np.zeros((len(rows), columns), np.float32)
    left[:, : rows.shape[1]] = rows
    found = []
    for _ in range(parts):
        bits = left.view(np.uint32)
        rounded = bits + (bits >> np.uint32(16) & np.uint32(1)) + np.uint32(0x7FFF)
        found.append((rounded >> np.uint32(16)).astype(np.uint16))
        left = left - (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    by_step = np.stack(found, 1).reshape(parts * len(rows), -1, STEP_COLUMNS).transpose(1, 0, 2)
    tiles = [
        np.ascontiguousarray(by_step[:, first : first + TILE_ROWS]).ravel()
        for first in range(0, parts * len(rows), TILE_ROWS)
    ]
    return np.concatenate(tiles).view(np.float32).reshape(1, len(rows), -1)
