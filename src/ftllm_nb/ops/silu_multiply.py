"""SiluMultiply: Silu and MulTo in one pass. Made by fusion."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.elementwise import silu_multiply
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.fusion import Part, Pattern
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each
from ftllm_nb.ops.mul_to import MulTo
from ftllm_nb.ops.silu import Silu, silu


class SiluMultiply(Operator):
    """silu(gate) · up, both of the same shape."""

    public = False
    fuses = (
        Pattern((
            Part(Silu, reads={"input": "gate"}, writes={"output": "activated"}),
            Part(MulTo, reads={"input0": "activated", "input1": "up"}, writes={"input0": "output"}),
        )),
    )
    parameters = (
        Parameter("gate", Kind.INPUT),
        Parameter("up", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(gate: TensorType, up: TensorType) -> TensorType:
        require_same_shape(gate, "gate", up, "up")
        return gate

    @staticmethod
    def reference(step: StepContext, gate: Array, up: Array) -> Array:
        return np.asarray(silu(gate) * up)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_each(lowering, silu_multiply, node.inputs["gate"], node.inputs["up"], node.outputs["output"])
