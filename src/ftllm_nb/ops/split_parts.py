"""SplitParts: activations as two bfloat16 each, for products with bfloat16 weights. Made where AMX does them."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.amx_bf16 import PARTS, STEP_COLUMNS, TILE_TOKENS, split_parts
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class SplitParts(Operator):
    """output = input, each number as the sum of two bfloat16, in tiles of tokens; zeros up to `columns`."""

    public = False
    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("columns", Kind.INT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, columns: int) -> TensorType:
        return input.with_shape(*input.shape[:2], PARTS * columns // 2)

    @staticmethod
    def reference(step: StepContext, input: Array, columns: int) -> Array:
        rows = input.reshape(-1, input.shape[-1])
        left = np.zeros((len(rows), columns), np.float32)
        left[:, : rows.shape[1]] = rows
        parts = []
        for _ in range(PARTS):
            bits = left.view(np.uint32)
            rounded = bits + (bits >> np.uint32(16) & np.uint32(1)) + np.uint32(0x7FFF)
            parts.append((rounded >> np.uint32(16)).astype(np.uint16))
            left = left - (rounded & np.uint32(0xFFFF0000)).view(np.float32)
        by_step = np.stack(parts, 1).reshape(len(rows), PARTS, -1, STEP_COLUMNS).transpose(2, 0, 1, 3)
        tiles = [
            np.ascontiguousarray(by_step[:, first : first + TILE_TOKENS]).ravel()
            for first in range(0, len(rows), TILE_TOKENS)
        ]
        return np.concatenate(tiles).view(np.float32).reshape(1, len(rows), -1)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source = node.inputs["input"]
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        lowering.add(
            split_parts, read.address, read.stride, written.address, written.stride, features(source),
            int(node.attributes["columns"]), lowering.count(source),
        )  # fmt: skip
