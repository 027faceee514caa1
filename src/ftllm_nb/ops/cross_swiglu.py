"""CrossSwiglu: Swiglu of gates and ups that take turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.halves import half_of
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features
from ftllm_nb.ops.silu import silu

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel


class CrossSwiglu(Operator):
    """output[i] = silu(input[2 i]) · input[2 i + 1] along the last axis: [.., 2 n] to [.., n]."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return half_of(input)

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.asarray(silu(input[..., ::2]) * input[..., 1::2])

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.runs import silu_pairs

        lower_pairs(node, lowering, silu_pairs, 0.0, 0.0)


def lower_pairs(node: LoweredNode, lowering: Lowering, kernel: Kernel, alpha: float, limit: float) -> None:
    """A row of one of the gates of pairs in kernels/runs.py. Pairs never cross the end of an axis of even size."""
    source, target = node.inputs["input"], node.outputs["output"]
    read, written = lowering.place(source), lowering.place(target)
    lowering.add(
        kernel, read.address, read.stride, written.address, written.stride, features(target), lowering.count(source),
        alpha, limit,
    )  # fmt: skip
