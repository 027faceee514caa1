"""SwigluGptOss: the limited gate of gpt-oss."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.cross_swiglu import lower_pairs
from ftllm_nb.ops.halves import half_of
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.silu import sigmoid


class SwigluGptOss(Operator):
    """output[i] = (u + 1) · g · σ(alpha · g) along the last axis: [.., 2 n] to [.., n].

    g is input[2 i], at most `limit`; u is input[2 i + 1], between −`limit` and `limit`. In fastllm both numbers are
    fixed; configs call them swiglu_limit and swiglu_alpha.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
        Parameter("limit", Kind.FLOAT, default=7.0, is_extra=True),
        Parameter("alpha", Kind.FLOAT, default=1.702, is_extra=True),
    )

    @staticmethod
    def infer(input: TensorType, limit: float = 7.0, alpha: float = 1.702) -> TensorType:
        if limit <= 0:
            raise ShapeError(f"limit must be above 0, but it is {limit:g}")
        return half_of(input)

    @staticmethod
    def reference(step: StepContext, input: Array, limit: float = 7.0, alpha: float = 1.702) -> Array:
        gate, up = np.minimum(input[..., ::2], np.float32(limit)), np.clip(input[..., 1::2], -limit, limit)
        return np.asarray((up + 1) * gate * sigmoid(np.float32(alpha) * gate))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.runs import limited_pairs

        lower_pairs(
            node, lowering, limited_pairs, float(node.attributes["alpha"]), float(node.attributes["limit"])
        )
