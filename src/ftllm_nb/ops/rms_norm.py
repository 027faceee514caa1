"""RMSNorm: divide by the root of the mean square, multiply by a weight (Zhang and Sennrich, 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_vector,
)
from ftllm_nb.ops.forms import int8_arguments
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Tensor, features
from ftllm_nb.quant.activations import Int8Form

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel


class RMSNorm(Operator):
    """input / sqrt(mean(input²) + eps) · (offset + weight) over the last axis; `output` may be `input`.

    Without a weight, None, nothing is multiplied. Gemma's norms have an offset of 1.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, may_be_none=True, if_bias="a norm with a bias is mostly LayerNorm"),
        Parameter("eps", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT, forms=(Int8Form,)),
        Parameter("offset", Kind.FLOAT, default=0.0, is_extra=True),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType | None, eps: float, offset: float = 0.0) -> TensorType:
        require_activation(input, "input")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        if weight is not None:
            require_vector(weight, "weight", input.size(-1))
        elif offset:
            raise ShapeError("an offset is added to a weight, and there is none")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array | None, eps: float, offset: float = 0.0) -> Array:
        mean_square = np.mean(np.square(input), axis=-1, keepdims=True)
        normalized = input / np.sqrt(mean_square + np.float32(eps))
        return np.asarray(normalized if weight is None else normalized * (np.float32(offset) + weight))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import rms_norm
        from ftllm_nb.kernels.quantize import rms_norm_quantize

        lower_norm(node, lowering, node.inputs["input"], rms_norm, rms_norm_quantize)


def lower_norm(
    node: LoweredNode,
    lowering: Lowering,
    source: Tensor,
    plain: Kernel,
    int8: Kernel,
    added: tuple[int | float, ...] = (0, 0, 0),
) -> None:
    """A row of the norm of `source` into `output`, in the form that the node asks for.

    `added`: arguments of kernels that add to the source first: an address, its stride, and a factor.
    """
    size = source.type.size(-1)
    read, written = lowering.place(source), lowering.place(node.outputs["output"])
    weight = node.inputs.get("weight")
    plus = 1.0 if weight is None else float(node.attributes["offset"])
    shared = (
        read.address, read.stride, written.address, written.stride,
        lowering.vector([weight], [size], plus), size, features(source) // size,
        float(node.attributes["eps"]), lowering.count(source),
    )  # fmt: skip
    form = node.forms.get("output")
    if form is None:
        lowering.add(plain, *shared, *added)
    else:
        lowering.add(int8, *shared, *added, *int8_arguments(form, lowering, features(source)))
