"""OrderFeatures: features in another order, for products with matrices whose columns lie so."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class OrderFeatures(Operator):
    """output[…, i] = input[…, order[i]]; `order` is an array, int32 [features], which the node keeps alive."""

    public = False
    parameters = (Parameter("input", Kind.INPUT), Parameter("order", Kind.INTS), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType, order: Array) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, order: Array) -> Array:
        return input[..., order]

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.order_features import ORDER, order_features

        source, order = node.inputs["input"], node.attributes["order"]
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        lowering.add(
            order_features,
            *ORDER.values(
                input=read.address, input_stride=read.stride, output=written.address, output_stride=written.stride,
                order=int(order.ctypes.data), size=features(source), count=lowering.count(source),
            ),
        )  # fmt: skip
