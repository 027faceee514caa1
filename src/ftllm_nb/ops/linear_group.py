"""LinearGroup: several Linears on one input, as one matrix product. Made by fusion."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.fusion import Group
from ftllm_nb.ops.linear import Linear, lower_linear
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class LinearGroup(Operator):
    """output0, output1, … = input · weight0ᵀ + bias0, input · weight1ᵀ + bias1, …

    The outputs are column ranges of one buffer, each padded to whole blocks of 16.
    """

    public = False
    fuses = (Group(Linear),)
    outputs_share_rows = True
    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, multiplies="input", many=True),
        Parameter("bias", Kind.OPTIONAL_WEIGHT, many=True),
        Parameter("output", Kind.OUTPUT, many=True),
    )

    @classmethod
    def compute(cls, step: StepContext, arguments: dict[str, Any]) -> dict[str, Array]:
        """Each product on its own, as Linear's reference does it."""
        results = {}
        for name, weight in arguments.items():
            if name.startswith("weight"):
                number = name.removeprefix("weight")
                product = np.matmul(arguments["input"], weight.T)
                bias = arguments.get(f"bias{number}")
                results[f"output{number}"] = np.asarray(product if bias is None else product + bias)
        return results

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        numbers = range(len(node.outputs))
        lower_linear(
            lowering,
            node.inputs["input"],
            [node.inputs[f"weight{number}"] for number in numbers],
            [node.inputs.get(f"bias{number}") for number in numbers],
            node.outputs["output0"],
        )
