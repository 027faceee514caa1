"""LlamaRotatePosition2D: rotary position embedding on the two halves of each head (Su et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_positions
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features

ROTATION = (
    Parameter("input", Kind.INPLACE),
    Parameter("positionIds", Kind.INPUT, only="positionIds"),
    Parameter("sin", Kind.INPUT, by_position=True),
    Parameter("cos", Kind.INPUT, by_position=True),
)
"""The parameters that all rotations begin with."""


class LlamaRotatePosition2D(Operator):
    """Rotate the pairs (j, j + headDim/2), j < min(rotaryDim, headDim/2), by the position's angle, in place.

    `sin` and `cos` are float32 [positions, angles]. rotaryDim = headDim and headDim // 2 both mean the whole
    head.
    """

    parameters = (*ROTATION, Parameter("rotaryDim", Kind.INT))

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, sin: TensorType, cos: TensorType, rotaryDim: int
    ) -> TensorType:
        require_rotation(input, positionIds, sin, cos, input.size(-1), min(rotaryDim, input.size(-1) // 2))
        return input

    @classmethod
    def doubt(cls, types: Mapping[str, Any]) -> str:
        return doubt_pairs(types["sin"], min(types["rotaryDim"], types["input"].size(-1) // 2))

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, sin: Array, cos: Array, rotaryDim: int
    ) -> Array:
        half = input.shape[-1] // 2
        return rotated(input, positionIds, sin, cos, slice(0, half), slice(half, 2 * half), min(rotaryDim, half))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        half = node.inputs["input"].type.size(-1) // 2
        lower_rotation(node, lowering, apart=half, pairs=int(min(node.attributes["rotaryDim"], half)))


def require_rotation(
    input: TensorType, positionIds: TensorType, sin: TensorType, cos: TensorType, part: int, pairs: int
) -> None:
    """Raise `ShapeError` unless `pairs` pairs of the first `part` features of each head can be rotated."""
    require_turning_part(input, positionIds, part)
    require_activation(sin, "sin", rank=2)
    require_activation(cos, "cos", rank=2)
    if pairs < 1:
        raise ShapeError(f"rotaryDim must be at least 1, but it is {pairs}")
    angles = min(sin.size(-1), cos.size(-1))
    if pairs > angles:
        raise ShapeError(
            f"input needs {pairs} angles a position, for its headDim {input.size(-1)}, but sin and cos "
            f"have {angles}, for the {2 * angles} features that config.json's head_dim and partial_rotary_factor make; "
            "LlamaRotatePosition2DPart rotates a part of each head",
            input.size(-1),
            2 * angles,
        )


def doubt_pairs(sin: TensorType, pairs: int) -> str:
    """What is likely wrong where a table has more angles than pairs turn: its angles are for other pairs."""
    angles = sin.size(-1)
    if not 0 < pairs < angles:
        return ""
    return (
        f"turns {pairs} pairs by a table of {angles} angles, which are made for {2 * angles} features of a head: "
        f"rotaryDim and part count features, not pairs, so {2 * angles} may be meant"
    )


def require_turning_part(input: TensorType, positionIds: TensorType, part: int) -> None:
    """Raise `ShapeError` unless pairs of the first `part` features of each head can be rotated."""
    require_activation(input, "input", rank=4)
    require_positions(positionIds, input)
    if part % 2 and part == input.size(-1):
        raise ShapeError(f"input must have heads of even size, but headDim is {part}", part)
    if not 0 < part <= input.size(-1) or part % 2:
        raise ShapeError(
            f"what is rotated of a head of {input.size(-1)} features must be an even number of them, but it is {part}"
        )


def rotated(
    input: Array, positionIds: Array, sin: Array, cos: Array, first: slice, second: slice, pairs: int
) -> Array:
    """A copy of [1, tokens, heads, dim] whose features `first` and `second`, `pairs` of each, are turned."""
    sine, cosine = sin[positionIds, None, :pairs], cos[positionIds, None, :pairs]
    one, other = input[..., first][..., :pairs], input[..., second][..., :pairs]
    output = input.copy()
    output[..., first][..., :pairs] = one * cosine - other * sine
    output[..., second][..., :pairs] = other * cosine + one * sine
    return output


def lower_rotation(
    node: LoweredNode, lowering: Lowering, *, apart: int, pairs: int, neighbours: bool = False
) -> None:
    """A row that turns `input` in place: pairs that are `apart`, or neighbours."""
    tables = lowering.rope_table(node.inputs["sin"]), lowering.rope_table(node.inputs["cos"])
    lower_turn(node, lowering, apart, pairs, tables, node.inputs["sin"].type.size(-1), neighbours)


def lower_turn(
    node: LoweredNode, lowering: Lowering, apart: int, pairs: int, tables: tuple[int, ...], angles: int,
    neighbours: bool = False,
) -> None:  # fmt: skip
    """The same with the addresses of `tables` of sines and cosines, float32 [positions, angles]."""
    from ftllm_nb.kernels.rotation import rotate_kernel

    source = node.inputs["input"]
    place, dim = lowering.place(source), source.type.size(-1)
    lowering.add(
        rotate_kernel(neighbours), place.address, place.stride, features(source) // dim, dim, apart, pairs, *tables,
        4 * angles,
    )  # fmt: skip
