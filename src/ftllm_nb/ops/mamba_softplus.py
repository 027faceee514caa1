"""MambaSoftplus: the logarithm of a recurrent layer's decay."""

from __future__ import annotations

import math

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_vector
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class MambaSoftplus(Operator):
    """−exp(aLog) · softplus(input + dtBias); `output` may be `input`.

    Of [1, tokens, heads], aLog and dtBias have a number for each head; of [1, tokens, heads, dim], where fastllm's
    knows the last axis alone, aLog has one for each head, and dtBias one for each of all features.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("aLog", Kind.WEIGHT),
        Parameter("dtBias", Kind.WEIGHT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, aLog: TensorType, dtBias: TensorType) -> TensorType:
        require_activation(input, "input", None if input.rank == 4 else 3)
        require_vector(aLog, "aLog", input.size(2))
        require_vector(dtBias, "dtBias", math.prod(map(input.size, range(2, input.rank))))
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, aLog: Array, dtBias: Array) -> Array:
        rates = -np.exp(aLog)
        if input.ndim == 4:
            rates, dtBias = rates[:, None], dtBias.reshape(input.shape[2:])
        return np.asarray(rates * np.logaddexp(np.float32(0), input + dtBias))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.recurrent_parts import DECAYS, mamba_softplus

        source, width = node.inputs["input"], features(node.inputs["input"])
        heads, is_of_run = source.type.size(2), source.type.rank == 4
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        fields = DECAYS.values(
            input=read.address, input_stride=read.stride, output=written.address, output_stride=written.stride,
            log_rates=lowering.vector([node.inputs["aLog"]], [heads]),
            bias=lowering.vector([node.inputs["dtBias"]], [width]), size=width // heads if is_of_run else width,
            groups=heads if is_of_run else 1, is_of_run=int(is_of_run), count=lowering.count(source),
        )  # fmt: skip
        lowering.add(mamba_softplus, *fields)
