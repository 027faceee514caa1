"""RopeEncoding: rotary position embedding whose angles are made from the operator's own numbers."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.llama_rotate_position_2d import lower_turn, require_turning_part, rotated
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.rope_frequencies import Floats, inverse_frequencies, sin_and_cos

ENCODING = (
    Parameter("input", Kind.INPLACE),
    Parameter("positionIds", Kind.INPUT, only="positionIds"),
    Parameter("rotaryDim", Kind.INT, default=128),
    Parameter("ropeTheta", Kind.FLOAT, default=1e4),
)
"""The parameters that all encodings begin with."""


class RopeEncoding(Operator):
    """Rotate the pairs (j, j + rotaryDim/2) of each head by position / ropeScale · ropeTheta^(−2j / rotaryDim).

    In place; the features from rotaryDim on stay.
    """

    parameters = (*ENCODING, Parameter("ropeScale", Kind.FLOAT, default=1.0))

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, rotaryDim: int, ropeTheta: float, ropeScale: float
    ) -> TensorType:
        return encoded_type(input, positionIds, rotaryDim, ropeTheta=ropeTheta, ropeScale=ropeScale)

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, rotaryDim: int, ropeTheta: float, ropeScale: float
    ) -> Array:
        return encoded(input, positionIds, scaled_frequencies(ropeTheta, rotaryDim, ropeScale))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        dim, base, scale = (node.attributes[name] for name in ("rotaryDim", "ropeTheta", "ropeScale"))
        lower_encoding(node, lowering, scaled_frequencies(base, dim, scale))


def scaled_frequencies(base: float, dim: int, scale: float) -> Floats:
    """Radians a position: float32 [dim / 2]."""
    return np.asarray(inverse_frequencies(base, dim) / np.float32(scale), np.float32)


def encoded_type(input: TensorType, positionIds: TensorType, dim: int, **positive: float) -> TensorType:
    """The input's type. Raises `ShapeError` unless the first `dim` features of heads can turn, and for the numbers, by
    name, that must be above 0.
    """
    require_turning_part(input, positionIds, dim)
    for name, number in positive.items():
        if number <= 0:
            raise ShapeError(f"{name} must be above 0, but it is {number:g}")
    return input


def encoded(input: Array, positionIds: Array, frequencies: Floats, scale: float = 1.0) -> Array:
    """A copy of [1, tokens, heads, dim] whose first features, two for each frequency, are turned."""
    sin, cos = sin_and_cos(positionIds.reshape(-1).astype(np.float32), frequencies, scale)
    pairs, rows = len(frequencies), np.arange(positionIds.size).reshape(positionIds.shape)
    return rotated(input, rows, sin, cos, slice(0, pairs), slice(pairs, 2 * pairs), pairs)


def lower_encoding(node: LoweredNode, lowering: Lowering, frequencies: Floats, scale: float = 1.0) -> None:
    """A row that turns, by tables of the operator's own; those of the same frequencies are made once."""
    pairs = len(frequencies)
    tables = lowering.position_tables(
        f"rope {scale} {frequencies.tobytes().hex()}", pairs, 2,
        lambda positions: sin_and_cos(positions, frequencies, scale),
    )  # fmt: skip
    lower_turn(node, lowering, pairs, pairs, tables, pairs)
