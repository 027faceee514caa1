"""MatMul: products of matrices that each token has of its own."""

from __future__ import annotations

import math

import numpy as np

from ftllm_nb.graph.types import Dimension, ShapeError, Symbol, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_floats
from ftllm_nb.ops.lowering import LoweredNode, Lowering

PARAMETERS = (
    Parameter("input0", Kind.INPUT),
    Parameter("input1", Kind.INPUT_OR_WEIGHT),
    Parameter("output", Kind.OUTPUT),
    Parameter("alpha", Kind.FLOAT, default=1.0),
    Parameter("group", Kind.INT, default=1),
)
"""Of both operators that multiply matrices of tokens."""


class MatMul(Operator):
    """alpha · input0 · input1 on the last two axes: [1, tokens, .., n, m] with [1, tokens, .., m, k].

    input1 can also be a weight [batch, m, k] that all tokens share; what lies between tokens and matrices counts as one
    batch. With `group`, each matrix of input1 serves as many of input0's that follow each other. No product reaches
    over the tokens, which are attention's to mix. A product with one matrix of the checkpoint is a Linear.
    """

    parameters = PARAMETERS

    @staticmethod
    def infer(
        input0: TensorType, input1: TensorType, alpha: float = 1.0, group: int = 1
    ) -> TensorType:
        return product_type(input0, input1, group, transposed=False)

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array, alpha: float = 1.0, group: int = 1) -> Array:
        return product(input0, input1, alpha, group)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_product(node, lowering, transposed=False)


def product_type(input0: TensorType, input1: TensorType, group: int, *, transposed: bool) -> TensorType:
    """The type of the product; raises `ShapeError`."""
    require_activation(input0, "input0")
    if input0.rank < 4:
        raise ShapeError(f"input0 must be [1, tokens, .., n, m], but it has {input0.rank} axes")
    if input1.rank == 3 and Symbol.TOKENS not in input1.shape and Symbol.ROWS not in input1.shape:
        require_floats(input1, "input1")
    elif input1.rank < 4:
        hint = ": for one matrix there is Linear" if input1.rank == 2 else ""
        raise ShapeError(
            f"input1 must be [1, tokens, .., m, k] or a weight [batch, m, k], but it has {input1.rank} axes{hint}"
        )
    else:
        require_activation(input1, "input1")
        if input1.shape[:2] != input0.shape[:2]:
            raise ShapeError("input1 must be of input0's tokens")
    inner, columns = (input1.size(-1), input1.size(-2)) if transposed else (input1.size(-2), input1.size(-1))
    if inner != input0.size(-1):
        raise ShapeError(f"input0 has rows of {input0.size(-1)}, but input1 takes {inner}", input0.size(-1), inner)
    first, second = _batch(input0), _batch(input1)
    if group < 1 or first != group * second:
        raise ShapeError(
            f"input0 has {first} matrices a token and input1 {second}, which a group of {group} does not make equal",
            first, second,
        )  # fmt: skip
    return input0.with_shape(*input0.shape[:-1], columns)


def _between(type: TensorType) -> tuple[Dimension, ...]:
    """The axes between tokens and matrices; a weight of three axes has no tokens."""
    return type.shape[2:-2] if type.rank > 3 else type.shape[:-2]


def _batch(type: TensorType) -> int:
    return math.prod(size for size in _between(type) if isinstance(size, int))


def product(input0: Array, input1: Array, alpha: float, group: int) -> Array:
    """alpha · input0 · input1, each matrix of input1 used `group` times."""
    tokens = input0.shape[:2]
    first = input0.reshape(*tokens, -1, *input0.shape[-2:])
    second = input1.reshape(*(tokens if input1.ndim > 3 else (1, 1)), -1, *input1.shape[-2:])
    result = np.float32(alpha) * np.matmul(first, np.repeat(second, group, axis=2))
    return np.asarray(result.reshape(*input0.shape[:-1], input1.shape[-1]))


def lower_product(node: LoweredNode, lowering: Lowering, *, transposed: bool) -> None:
    """One row."""
    from ftllm_nb.kernels.token_matmul import product_kernel

    first, second, target = node.inputs["input0"], node.inputs["input1"], node.outputs["output"]
    a, out = lowering.place(first), lowering.place(target)
    if second.type.rank > 3:
        place = lowering.place(second)
        address, stride = place.address, place.stride
    else:
        size = math.prod(second.type.size(axis) for axis in range(3))
        address, stride = lowering.vector([second], [size]), 0
    lowering.add(
        product_kernel(transposed), a.address, a.stride, address, stride, out.address, out.stride, _batch(first.type),
        int(node.attributes["group"]), first.type.size(-2), first.type.size(-1), target.type.size(-1),
        lowering.count(first), float(node.attributes["alpha"]),
    )  # fmt: skip
