"""What gated activations have in common: the activation of a gate times another tensor, in one pass, in any form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.forms import CombiningKernels, lower_combined
from ftllm_nb.ops.fusion import Part, Pattern
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.mul_to import MulTo
from ftllm_nb.quant.activations import Int8Form, SplitForm


def gated(activation: type[Operator]) -> tuple[Pattern]:
    """The activation of `gate` into a value of its own, which is then multiplied by `up`."""
    return (
        Pattern((
            Part(activation, reads={"input": "gate"}, writes={"output": "activated"}),
            Part(MulTo, reads={"input0": "activated", "input1": "up"}, writes={"input0": "output"}),
        )),
    )


class Gated(Operator):
    """output = activation(gate) · up, both of the same shape.

    A subclass has `activation`, an operator from `input` to `output`, `fuses = gated(activation)`, and `kernels`.
    """

    public = False
    activation: type[Operator]
    parameters = (
        Parameter("gate", Kind.INPUT),
        Parameter("up", Kind.INPUT),
        Parameter("output", Kind.OUTPUT, forms=(Int8Form, SplitForm)),
    )

    @classmethod
    def kernels(cls, config: Mapping[str, Any]) -> CombiningKernels:
        """The kernels of the activation and the product, by the model's config."""
        raise NotImplementedError

    @staticmethod
    def infer(gate: TensorType, up: TensorType) -> TensorType:
        """The output is of the gate's type."""
        require_same_shape(gate, "gate", up, "up")
        return gate

    @classmethod
    def compute(cls, step: StepContext, arguments: dict[str, Any]) -> dict[str, Array]:
        """The activation's reference, times `up`."""
        activated = cls.activation.reference(step, arguments["gate"])
        return {"output": np.asarray(activated * arguments["up"], np.float32)}

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """One row."""
        lower_combined(node, lowering, cls.kernels(lowering.config), node.inputs["gate"], node.inputs["up"])
