"""CausalConv1D: a convolution along the tokens of each sequence, channel by channel."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_floats,
    require_vector,
)
from ftllm_nb.ops.lowering import LoweredNode, Lowering

_NOTHING, _SILU = 0, 1


class CausalConv1D(Operator):
    """output[t] = bias + Σ weight[:, i] · input[t − taps + 1 + i], of input [1, tokens, channels], with zeros before a
    sequence's first token; `activation` 1: the silu of that.

    `weight`: [channels, 1, taps], as checkpoints have it, or [channels, taps]. `tail`: the state, a sequence's last
    taps − 1 inputs, each filled up to a multiple of 16. fastllm has it as KimiK3CausalConv1D; its Conv1DPerChannel
    knows no tokens.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT),
        Parameter("bias", Kind.WEIGHT, may_be_none=True),
        Parameter("tail", Kind.STATE),
        Parameter("output", Kind.OUTPUT),
        Parameter("activation", Kind.INT, default=_NOTHING),
    )

    @staticmethod
    def state(
        input: TensorType, weight: TensorType, bias: TensorType | None, activation: int = _NOTHING
    ) -> tuple[int, ...]:
        require_activation(input, "input", 3)
        require_floats(weight, "weight")
        channels = input.size(-1)
        middle = weight.shape[1:-1]
        if weight.rank not in (2, 3) or weight.shape[0] != channels or middle not in ((), (1,)):
            raise ShapeError(f"weight must have shape [{channels}, 1, taps]", channels, *weight.shape)
        if weight.size(-1) < 2:
            raise ShapeError("weight must have at least 2 taps: with one, nothing before a token is read")
        return weight.size(-1) - 1, _padded(channels)

    @staticmethod
    def infer(
        input: TensorType,
        weight: TensorType,
        bias: TensorType | None,
        tail: TensorType,
        activation: int = _NOTHING,
    ) -> TensorType:
        if bias is not None:
            require_vector(bias, "bias", input.size(-1))
        if activation not in (_NOTHING, _SILU):
            raise ShapeError(f"activation must be 0, nothing, or 1, silu, but it is {activation}")
        return input

    @staticmethod
    def reference(
        step: StepContext,
        input: Array,
        weight: Array,
        bias: Array | None,
        tail: list[Array],
        activation: int = _NOTHING,
    ) -> Array:
        factors = weight.reshape(len(weight), -1)
        taps = factors.shape[1]
        output = np.zeros_like(input)
        for number, rows in enumerate(step.rows):
            history = np.concatenate([tail[number][:, : len(factors)], input[0, rows]])
            count = len(history) - taps + 1
            output[0, rows] = sum(factors[:, tap] * history[tap : tap + count] for tap in range(taps))
            tail[number][:, : len(factors)] = history[count:]
        if bias is not None:
            output += bias
        with np.errstate(over="ignore"):
            return output if activation == _NOTHING else np.asarray(output / (1 + np.exp(-output)))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.causal_conv import CONV, causal_conv

        source, weight, tail = node.inputs["input"], node.inputs["weight"], lowering.state(node.inputs["tail"])
        channels = source.type.size(-1)
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        fields = CONV.values(
            input=read.address, input_stride=read.stride, output=written.address, output_stride=written.stride,
            weight=lowering.columns(weight),
            bias=lowering.vector([node.inputs.get("bias")], [channels]), state=tail.offset,
            channels=_padded(channels), taps=weight.type.size(-1), silu=int(node.attributes["activation"] == _SILU),
        )  # fmt: skip
        lowering.add(causal_conv, *fields)


def _padded(channels: int) -> int:
    return -(-channels // 16) * 16
