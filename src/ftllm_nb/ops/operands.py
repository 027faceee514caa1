"""The second operand of sums and products: of the first one's shape, or numbers or a vector that features share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from ftllm_nb.graph.types import Dimension, ShapeError, TensorType
from ftllm_nb.ops.base import Array, require_activation, require_floats
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features, lower_each

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel

Size = TypeVar("Size", int, Dimension)


def require_operand(input0: TensorType, input1: TensorType) -> None:
    """Raise `ShapeError` unless input1 can be combined with input0.

    It can be of the same shape; a number for each of the first axes, as [1, tokens, heads] or [1, tokens, heads, 1] for
    [1, tokens, heads, dim]; a weight that is a vector of the last axis; a weight that is one number.
    """
    require_activation(input0, "input0")
    if input1.rank < 2:
        require_floats(input1, "input1")
        if input1.shape not in ((), (1,), (input0.shape[-1],)):
            raise ShapeError(
                f"input1 must hold one number, or one for each of input0's {input0.size(-1)} features",
                input0.size(-1), *input1.shape,
            )  # fmt: skip
        return
    require_activation(input1, "input1")
    shared = _leading(input1.shape)
    if input1.shape != input0.shape and shared != input0.shape[: len(shared)]:
        raise ShapeError(
            "input1 must have input0's shape, or that of its first axes", *input0.shape, *input1.shape
        )


def spread_operand(input0: Array, input1: Array) -> Array:
    """A view of input1 with which NumPy combines input0."""
    if input1.ndim < 2 or input1.shape == input0.shape:
        return input1
    shared = _leading(input1.shape)
    return input1.reshape(*shared, *[1] * (input0.ndim - len(shared)))


def _leading(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """A shape without the ones at its end."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def lower_operand(
    node: LoweredNode, lowering: Lowering, each: Kernel, number: Kernel, vector: Kernel, alpha: float
) -> None:
    """A row that combines input0 and input1 in place: feature by feature, with shared numbers, or with a vector."""
    first, second = node.inputs["input0"], node.inputs["input1"]
    if second.type.shape == first.type.shape:
        lower_each(lowering, each, first, second, node.outputs["input0"], alpha)
        return
    total = features(first)
    if second.type.rank < 2:
        size = math.prod(second.type.size(axis) for axis in range(second.type.rank))
        kernel, runs = (number, 1) if size == 1 else (vector, total // size)
        where = (lowering.vector([second], [size]), 0, 0)
    else:
        place = lowering.place(second)
        kernel, runs = number, features(second)
        where = (place.address, place.stride, 4)
    out = lowering.place(node.outputs["input0"])
    lowering.add(
        kernel, out.address, out.stride, *where, out.address, out.stride, total // runs, runs, lowering.count(first),
        alpha,
    )  # fmt: skip
