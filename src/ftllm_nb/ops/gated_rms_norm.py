"""GatedRMSNorm: RMSNorm, and a gate before or after it."""

from __future__ import annotations

import math

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features

SILU, SIGMOID = 0, 1
"""What is made of a gate."""


class GatedRMSNorm(Operator):
    """RMSNorm(input) · weight · silu(gate) over the last axis.

    With `gateFirst` 1, RMSNorm(input · silu(gate)) · weight. `gateType` 1: sigmoid in place of silu. `weight`: for the
    last axis, or for all axes behind the tokens. `output` may be `input`.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("gate", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT),
        Parameter("eps", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
        Parameter("gateType", Kind.INT, default=SILU),
        Parameter("gateFirst", Kind.INT, default=0),
    )

    @staticmethod
    def infer(
        input: TensorType, gate: TensorType, weight: TensorType, eps: float, gateType: int = SILU, gateFirst: int = 0
    ) -> TensorType:
        require_same_shape(input, "input", gate, "gate")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        if gateType not in (SILU, SIGMOID) or gateFirst not in (0, 1):
            raise ShapeError(f"gateType and gateFirst must be 0 or 1, but they are {gateType} and {gateFirst}")
        size, width = input.size(-1), math.prod(map(input.size, range(2, input.rank)))
        if weight.shape not in ((size,), (width,)):
            shapes = f"[{size}]" if size == width else f"[{size}] or [{width}]"
            raise ShapeError(f"weight must have shape {shapes}", size, *weight.shape)
        return input

    @staticmethod
    def reference(
        step: StepContext,
        input: Array,
        gate: Array,
        weight: Array,
        eps: float,
        gateType: int = SILU,
        gateFirst: int = 0,
    ) -> Array:
        with np.errstate(over="ignore"):
            factor = 1 / (1 + np.exp(-gate))
        if gateType == SILU:
            factor = factor * gate
        value = input * factor if gateFirst else input
        value = value / np.sqrt(np.mean(np.square(value), axis=-1, keepdims=True) + np.float32(eps))
        value = value * (weight if weight.size == input.shape[-1] else weight.reshape(input.shape[2:]))
        return np.asarray(value if gateFirst else value * factor)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.recurrent_parts import GATED_NORM, gated_rms_norm

        source, weight = node.inputs["input"], node.inputs["weight"]
        size, width = source.type.size(-1), features(source)
        groups = width // size
        is_shared = weight.type.size(0) == size
        read, gate = lowering.place(source), lowering.place(node.inputs["gate"])
        written = lowering.place(node.outputs["output"])
        fields = GATED_NORM.values(
            input=read.address, input_stride=read.stride, gate=gate.address, gate_stride=gate.stride,
            output=written.address, output_stride=written.stride,
            weight=lowering.vector([weight], [weight.type.size(0)]), weight_stride=0 if is_shared else 4 * size,
            size=size, groups=groups, eps=float(node.attributes["eps"]),
            is_sigmoid=int(node.attributes["gateType"]), is_gate_first=int(node.attributes["gateFirst"]),
            count=lowering.count(source),
        )  # fmt: skip
        lowering.add(gated_rms_norm, *fields)
