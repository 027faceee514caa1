"""NearlyRotatePosition2D: rotary position embedding on neighbours, as GPT-J has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.llama_rotate_position_2d import ROTATION, doubt_pairs, lower_rotation, require_rotation, rotated
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class NearlyRotatePosition2D(Operator):
    """Rotate the pairs (2 j, 2 j + 1), 2 j < rotaryDim, of each head by the position's angle, in place.

    `sin` and `cos` are float32 [positions, angles]. input is [1, tokens, heads, dim], as everywhere here; fastllm's
    operator wants tokens first.
    """

    parameters = (
        *ROTATION,
        Parameter("rotaryDim", Kind.INT, default=64),
        Parameter("positionStride", Kind.INT, default=1),
    )

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, sin: TensorType, cos: TensorType, rotaryDim: int,
        positionStride: int,
    ) -> TensorType:  # fmt: skip
        require_rotation(input, positionIds, sin, cos, rotaryDim, rotaryDim // 2)
        if positionStride != 1:
            raise ShapeError(f"positionStride must be 1: a step's positions are one row, but it is {positionStride}")
        return input

    @classmethod
    def doubt(cls, types: Mapping[str, Any]) -> str:
        return doubt_pairs(types["sin"], types["rotaryDim"] // 2)

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, sin: Array, cos: Array, rotaryDim: int,
        positionStride: int,
    ) -> Array:  # fmt: skip
        pairs = rotaryDim // 2
        return rotated(input, positionIds, sin, cos, slice(0, rotaryDim, 2), slice(1, rotaryDim, 2), pairs)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        pairs = int(node.attributes["rotaryDim"]) // 2
        lower_rotation(node, lowering, apart=1, pairs=pairs, neighbours=True)
