"""LayerNormPart: LayerNorm of a part of the last axis, in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.layer_norm import LayerNorm
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Tensor


class LayerNormPart(Operator):
    """LayerNorm of the features start … end − 1 of [1, tokens, features], in place; the others stay.

    gamma and beta are [end − start], or None. So heads that lie side by side can have weights of their own.
    """

    parameters = (
        Parameter("input", Kind.INPLACE),
        Parameter("gamma", Kind.WEIGHT, may_be_none=True),
        Parameter("beta", Kind.WEIGHT, may_be_none=True),
        Parameter("start", Kind.INT),
        Parameter("end", Kind.INT),
        Parameter("eps", Kind.FLOAT, default=1e-5),
    )

    @staticmethod
    def infer(
        input: TensorType, gamma: TensorType | None, beta: TensorType | None, start: int, end: int, eps: float
    ) -> TensorType:
        require_activation(input, "input", rank=3)
        size = input.size(-1)
        if not 0 <= start < end <= size:
            raise ShapeError(f"start {start} and end {end} must be within the axis: 0 ≤ start < end ≤ {size}", size)
        LayerNorm.infer(input.with_shape(*input.shape[:-1], end - start), gamma, beta, -1, eps)
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, gamma: Array | None, beta: Array | None, start: int, end: int, eps: float
    ) -> Array:
        part = LayerNorm.reference(step, input[..., start:end], gamma, beta, -1, eps)
        return np.concatenate([input[..., :start], part, input[..., end:]], axis=-1)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        gamma, beta = node.inputs.get("gamma"), node.inputs.get("beta")
        lower_parts(node, lowering, int(node.attributes["start"]), int(node.attributes["end"]), [gamma], [beta])


def lower_parts(
    node: LoweredNode,
    lowering: Lowering,
    start: int,
    end: int,
    gammas: Sequence[Tensor | None],
    betas: Sequence[Tensor | None],
) -> None:
    """A row that normalizes parts of one size, which lie side by side from `start` to `end`, each by its own weights.

    Of the gammas all are None, or none is.
    """
    from ftllm_nb.kernels.layer_norms import LAYER_NORM, layer_norm_kernel

    source, size = node.inputs["input"], (end - start) // len(gammas)
    place, sizes, step = lowering.place(source), [size] * len(gammas), -(-size // 16) * 64
    address = place.address + 4 * start
    lowering.add(
        layer_norm_kernel(adds=False, quantizes=False),
        *LAYER_NORM.values(
            input=address, input_stride=place.stride, output=address, output_stride=place.stride,
            weight=lowering.vector(gammas, sizes, 1.0 if gammas[0] is None else 0.0), weight_step=step,
            bias=lowering.vector(betas, sizes), bias_step=step, size=size, groups=len(gammas),
            eps=float(node.attributes["eps"]), count=lowering.count(source),
            added=0, added_stride=0, alpha=0.0, columns=0, group=0, middle=0,
        ),
    )  # fmt: skip
