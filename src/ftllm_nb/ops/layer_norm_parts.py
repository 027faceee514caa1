"""LayerNormParts: LayerNormPart several times on one tensor, as of heads with weights of their own. Made by fusion."""

from __future__ import annotations

from typing import Any

from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.fusion import Chain
from ftllm_nb.ops.layer_norm_part import LayerNormPart, lower_parts
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class LayerNormParts(Operator):
    """LayerNorm of the features start0 … end0 − 1, then of start1 … end1 − 1, and so on, in place.

    Parts of one size that lie side by side, all with gammas or all without, are one row, others a row each.
    """

    public = False
    fuses = (Chain(LayerNormPart),)
    parameters = (
        Parameter("input", Kind.INPLACE),
        Parameter("gamma", Kind.WEIGHT, may_be_none=True, many=True),
        Parameter("beta", Kind.WEIGHT, may_be_none=True, many=True),
        Parameter("start", Kind.INTS),
        Parameter("end", Kind.INTS),
        Parameter("eps", Kind.FLOAT),
    )

    @classmethod
    def compute(cls, step: StepContext, arguments: dict[str, Any]) -> dict[str, Array]:
        """Part by part, by LayerNormPart's reference."""
        input = arguments["input"]
        for number, (start, end) in enumerate(zip(arguments["start"], arguments["end"], strict=True)):
            gamma, beta = arguments.get(f"gamma{number}"), arguments.get(f"beta{number}")
            input = LayerNormPart.reference(step, input, gamma, beta, start, end, arguments["eps"])
        return {"input": input}

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        starts, ends = node.attributes["start"], node.attributes["end"]
        gammas, betas = ([node.inputs.get(f"{name}{number}") for number in range(len(starts))]
                         for name in ("gamma", "beta"))  # fmt: skip
        size = ends[0] - starts[0]
        even = all(end - start == size for start, end in zip(starts, ends, strict=True))
        side_by_side = even and list(starts) == list(range(starts[0], ends[-1], size))
        if side_by_side and len({gamma is None for gamma in gammas}) == 1:
            lower_parts(node, lowering, starts[0], ends[-1], gammas, betas)
            return
        for start, end, gamma, beta in zip(starts, ends, gammas, betas, strict=True):
            lower_parts(node, lowering, start, end, [gamma], [beta])
