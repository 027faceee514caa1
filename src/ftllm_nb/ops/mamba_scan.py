"""MambaScan: Mamba-2's selective state space (Dao and Gu, Transformers are SSMs, arXiv 2405.21060)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, Work, require_vector
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.recurrences import lower_recurrence, require_of_heads, require_recurrent_heads, state_shape

_NO_LIMIT = 3.0e38


class MambaScan(Operator):
    """S ← e^(−Δ e^aLog) S + B (Δ x)ᵀ; output = Sᵀ C + D x, token by token, S a state of each head.

    x: [1, tokens, heads, P], dt: [1, tokens, heads], B and C: [1, tokens, groups, N]; head i uses group
    ⌊i · groups / heads⌋. Δ = softplus(dt + dtBias), held between `timeStepMin` and `timeStepMax`. aLog, dtBias and D
    have a number for each head.
    """

    parameters = (
        Parameter("x", Kind.INPUT),
        Parameter("dt", Kind.INPUT, decays=True),
        Parameter("B", Kind.INPUT),
        Parameter("C", Kind.INPUT),
        Parameter("aLog", Kind.WEIGHT),
        Parameter("dtBias", Kind.WEIGHT),
        Parameter("D", Kind.WEIGHT),
        Parameter("state", Kind.STATE, may_be_half=True),
        Parameter("output", Kind.OUTPUT),
        Parameter("timeStepMin", Kind.FLOAT, default=0.0),
        Parameter("timeStepMax", Kind.FLOAT, default=_NO_LIMIT),
    )

    @staticmethod
    def state(
        x: TensorType,
        dt: TensorType,
        B: TensorType,
        C: TensorType,
        aLog: TensorType,
        dtBias: TensorType,
        D: TensorType,
        timeStepMin: float = 0.0,
        timeStepMax: float = _NO_LIMIT,
    ) -> tuple[int, ...]:
        _, key_dim, heads, value_dim = require_recurrent_heads({"C": C, "B": B, "x": x})
        return state_shape(heads, key_dim, value_dim)

    @staticmethod
    def infer(
        x: TensorType,
        dt: TensorType,
        B: TensorType,
        C: TensorType,
        aLog: TensorType,
        dtBias: TensorType,
        D: TensorType,
        state: TensorType,
        timeStepMin: float = 0.0,
        timeStepMax: float = _NO_LIMIT,
    ) -> TensorType:
        require_of_heads(dt, "dt", x)
        for name, weight in (("aLog", aLog), ("dtBias", dtBias), ("D", D)):
            require_vector(weight, name, x.size(2))
        if not 0 <= timeStepMin <= timeStepMax:
            limits = f"timeStepMin {timeStepMin:g} and timeStepMax {timeStepMax:g}"
            raise ShapeError(f"{limits} must be at least 0, and in order")
        return x

    @staticmethod
    def reference(
        step: StepContext,
        x: Array,
        dt: Array,
        B: Array,
        C: Array,
        aLog: Array,
        dtBias: Array,
        D: Array,
        state: list[Array],
        timeStepMin: float = 0.0,
        timeStepMax: float = _NO_LIMIT,
    ) -> Array:
        repeats, size = x.shape[2] // B.shape[2], x.shape[3]
        keys, queries = (np.repeat(each[0], repeats, axis=1) for each in (B, C))
        steps = np.clip(np.logaddexp(np.float32(0), dt[0] + dtBias), np.float32(timeStepMin), np.float32(timeStepMax))
        decays = np.exp(-np.exp(aLog) * steps)
        output = np.zeros_like(x)
        for its_state, rows in zip(state, step.rows, strict=True):
            for token in range(rows.start, rows.stop):
                now = its_state[..., :size] * decays[token][:, None, None]
                value = x[0, token]
                now += keys[token][:, :, None] * (steps[token][:, None] * value)[:, None, :]
                its_state[..., :size] = now
                output[0, token] = np.einsum("hkv,hk->hv", now, queries[token]) + D[:, None] * value
        return output

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        """For each number of the states a decay, then a multiply-add each for the sum and for Sᵀ C."""
        value = types["x"]
        return Work(recurrent=5 * value.size(2) * types["B"].size(3) * value.size(3))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.recurrence import selective_scan
        from ftllm_nb.kernels.recurrent_parts import TIME_STEPS, time_steps

        inputs, heads = node.inputs, node.inputs["x"].type.size(2)
        read, stride = lowering.place(inputs["dt"]), -(-heads // 16) * 64
        steps, decays = (lowering.temporary(name, stride * lowering.most_tokens) for name in ("time steps", "decays"))
        aLog, dtBias, D = (lowering.vector([inputs[name]], [heads]) for name in ("aLog", "dtBias", "D"))
        fields = TIME_STEPS.values(
            input=read.address, input_stride=read.stride, log_rates=aLog, bias=dtBias,
            least=float(node.attributes["timeStepMin"]), most=float(node.attributes["timeStepMax"]), steps=steps,
            decays=decays, stride=stride, size=heads,
        )  # fmt: skip
        lowering.add(time_steps, *fields)
        lower_recurrence(
            lowering, selective_scan, inputs["C"], inputs["B"], inputs["x"], (decays, stride), (steps, stride),
            node.outputs["output"], inputs["state"], skip=D,
        )  # fmt: skip
