"""LayerNorm: subtract the mean, divide by the standard deviation, scale and shift (Ba et al., 2016)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_axis,
    require_vector,
)
from ftllm_nb.ops.forms import int8_arguments
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Tensor, features
from ftllm_nb.quant.activations import Int8Form

_WITHOUT_BIAS = "a norm without a bias is mostly RMSNorm, else LayerNorm with None"


class LayerNorm(Operator):
    """(input − mean) / sqrt(variance + eps) · gamma + beta over the last axis; `output` may be `input`.

    Without gamma or beta, None, nothing is multiplied or added. `axis` must be the last one; `eps` is as transformers
    has it, where fastllm's is fixed.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("gamma", Kind.WEIGHT, may_be_none=True),
        Parameter("beta", Kind.WEIGHT, may_be_none=True, if_lacking=_WITHOUT_BIAS),
        Parameter("axis", Kind.INT),
        Parameter("output", Kind.OUTPUT, forms=(Int8Form,)),
        Parameter("eps", Kind.FLOAT, default=1e-5, is_extra=True),
    )

    @staticmethod
    def infer(
        input: TensorType, gamma: TensorType | None, beta: TensorType | None, axis: int, eps: float
    ) -> TensorType:
        require_activation(input, "input")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        if require_axis(input, axis) != input.rank - 1:
            raise ShapeError(f"axis must be the last one, −1, but it is {axis}")
        for weight, name in ((gamma, "gamma"), (beta, "beta")):
            if weight is not None:
                require_vector(weight, name, input.size(-1))
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, gamma: Array | None, beta: Array | None, axis: int, eps: float
    ) -> Array:
        centred = input - np.mean(input, axis=-1, keepdims=True)
        variance = np.mean(np.square(centred), axis=-1, keepdims=True)
        normalized = centred / np.sqrt(variance + np.float32(eps))
        scaled = normalized if gamma is None else normalized * gamma
        return np.asarray(scaled if beta is None else scaled + beta)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_layer_norm(node, lowering, node.inputs["input"])


def lower_layer_norm(
    node: LoweredNode, lowering: Lowering, source: Tensor, added: tuple[int, int, float] | None = None
) -> None:
    """A row of the norm of `source` into `output`, in the form that the node asks for.

    `added`: of what is added to the source first: its address, its stride, and a factor.
    """
    from ftllm_nb.kernels.layer_norms import LAYER_NORM, layer_norm_kernel

    size, form = source.type.size(-1), node.forms.get("output")
    gamma, beta = node.inputs.get("gamma"), node.inputs.get("beta")
    read, written = lowering.place(source), lowering.place(node.outputs["output"])
    address, stride, alpha = added or (0, 0, 0.0)
    columns, group, middle = (0, 0, 0) if form is None else int8_arguments(form, lowering, features(source))
    lowering.add(
        layer_norm_kernel(added is not None, form is not None),
        *LAYER_NORM.values(
            input=read.address, input_stride=read.stride, output=written.address, output_stride=written.stride,
            weight=lowering.vector([gamma], [size], 1.0 if gamma is None else 0.0), weight_step=0,
            bias=lowering.vector([beta], [size]), bias_step=0, size=size, groups=features(source) // size,
            eps=float(node.attributes["eps"]), count=lowering.count(source),
            added=address, added_stride=stride, alpha=alpha, columns=columns, group=group, middle=middle,
        ),
    )  # fmt: skip
