"""LlamaRotatePosition2DPart: rotary position embedding on the first features of each head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.llama_rotate_position_2d import ROTATION, doubt_pairs, lower_rotation, require_rotation, rotated
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class LlamaRotatePosition2DPart(Operator):
    """Rotate the pairs (j, j + part/2), j < min(rotaryDim, part/2), by the position's angle, in place.

    `part` features of each head are rotated, those after them stay: partial rotary embedding. `sin` and `cos` are
    float32 [positions, angles].
    """

    parameters = (
        *ROTATION,
        Parameter("rotaryDim", Kind.INT, default=128),
        Parameter("part", Kind.INT, default=128),
    )

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, sin: TensorType, cos: TensorType, rotaryDim: int, part: int
    ) -> TensorType:
        require_rotation(input, positionIds, sin, cos, part, min(rotaryDim, part // 2))
        return input

    @classmethod
    def doubt(cls, types: Mapping[str, Any]) -> str:
        return doubt_pairs(types["sin"], min(types["rotaryDim"], types["part"] // 2))

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, sin: Array, cos: Array, rotaryDim: int, part: int
    ) -> Array:
        half = part // 2
        return rotated(input, positionIds, sin, cos, slice(0, half), slice(half, part), min(rotaryDim, half))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        half = int(node.attributes["part"]) // 2
        lower_rotation(node, lowering, apart=half, pairs=min(int(node.attributes["rotaryDim"]), half))
