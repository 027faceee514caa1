"""RotaryAttention: LlamaRotatePosition2D on q and curk, and FusedAttention on the results. Made by fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, Work
from ftllm_nb.ops.fused_attention import FusedAttention, lower_attention
from ftllm_nb.ops.fusion import Part, Pattern
from ftllm_nb.ops.llama_rotate_position_2d import LlamaRotatePosition2D
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class RotaryAttention(Operator):
    """Rotate q and curk by the tokens' positions, then attend as FusedAttention does.

    Rotation and the write to the cache are one pass over q, curk and curv, which are used up. The attributes are
    FusedAttention's, `qDim` and `kDim`: the rotaryDim of q's and of curk's rotation.
    """

    public = False
    fuses = (
        Pattern((
            Part(LlamaRotatePosition2D, {"input": "q"}, {"input": "rotated_q"}, {"rotaryDim": "qDim"}),
            Part(LlamaRotatePosition2D, {"input": "curk"}, {"input": "rotated_k"}, {"rotaryDim": "kDim"}),
            Part(FusedAttention, {"q": "rotated_q", "curk": "rotated_k"}),
        )),
    )
    parameters = (
        *FusedAttention.parameters,
        *(each for each in LlamaRotatePosition2D.parameters if each.name in ("positionIds", "sin", "cos")),
        Parameter("qDim", Kind.INT),
        Parameter("kDim", Kind.INT),
    )

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        return FusedAttention.work(types)

    @classmethod
    def compute(cls, step: StepContext, arguments: dict[str, Any]) -> dict[str, Array]:
        """Both rotations, then the attention, by their references."""
        given = dict(arguments)
        positions, sin, cos = (given.pop(name) for name in ("positionIds", "sin", "cos"))
        for name, dim in (("q", given.pop("qDim")), ("curk", given.pop("kDim"))):
            given[name] = LlamaRotatePosition2D.reference(step, given[name], positions, sin, cos, dim)
        return FusedAttention.compute(step, given)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        pairs = [
            int(min(node.attributes[dim], node.inputs[name].type.size(-1) // 2))
            for name, dim in (("q", "qDim"), ("curk", "kDim"))
        ]
        tables = [lowering.rope_table(node.inputs[name]) for name in ("sin", "cos")]
        lower_attention(node, lowering, (*pairs, *tables, 4 * node.inputs["sin"].type.size(-1)))
