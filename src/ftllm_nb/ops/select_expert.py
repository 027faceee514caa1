"""SelectExpert: the experts that a token goes to, and with what weights."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_vector
from ftllm_nb.ops.lowering import LoweredNode, Lowering

NORMS = NORM_NONE, NORM_SUM, NORM_SOFTMAX, NORM_MIXER = range(4)
"""Values of `needNorm`, the numbers that the kernel has for them."""


class SelectExpert(Operator):
    """The `topk` experts of the largest `logits` + `gateBias`, best first, the lower number of equal ones.

    logits [1, tokens, experts], as SoftMax or Sigmoid have made them; index and score [1, tokens, topk]: the experts'
    numbers, from 0, and the weights of what they compute: their logits, without the bias, which only chooses, times
    routeScale. needNorm 1 divides by max(Σ + epsilon, least) over the picked ones; 2 takes their softmax: then logits
    are raw, as with 3, Phi's sparse mixer: a pick's weight is its part of the softmax over the experts that are not
    picked yet, without those whose logit s is so far below its own, m, that m − s > 2 · jitter · max(|s|, m).
    expertScale [experts] multiplies an expert's weight. With `groups` the experts fall into so many equal runs, of
    which only the topGroups best may be chosen from, by the sum of the groupTop largest in each. The matrix that logits
    are products of keeps its floats, whatever --dtype says. fastllm has logits, index, score, topk, needNorm,
    routeScale and gateBias.
    """

    parameters = (
        Parameter("logits", Kind.INPUT, chooses=True),
        Parameter("index", Kind.OUTPUT),
        Parameter("score", Kind.OUTPUT),
        Parameter("topk", Kind.INT, default=1),
        Parameter("needNorm", Kind.INT, default=0),
        Parameter("routeScale", Kind.FLOAT, default=1.0),
        Parameter("gateBias", Kind.OPTIONAL_WEIGHT, may_be_left_out=True),
        Parameter("expertScale", Kind.OPTIONAL_WEIGHT, may_be_left_out=True, is_extra=True),
        Parameter("groups", Kind.INT, default=1, is_extra=True),
        Parameter("topGroups", Kind.INT, default=1, is_extra=True),
        Parameter("groupTop", Kind.INT, default=1, is_extra=True),
        Parameter("epsilon", Kind.FLOAT, default=0.0, is_extra=True),
        Parameter("least", Kind.FLOAT, default=0.0, is_extra=True),
        Parameter("jitter", Kind.FLOAT, default=0.01, is_extra=True),
    )

    @staticmethod
    def infer(
        logits: TensorType, topk: int, needNorm: int, routeScale: float, gateBias: TensorType | None,
        expertScale: TensorType | None, groups: int, topGroups: int, groupTop: int, epsilon: float, least: float,
        jitter: float,
    ) -> tuple[TensorType, TensorType]:  # fmt: skip
        """Two of [1, tokens, topk]."""
        require_activation(logits, "logits", 3)
        experts = logits.size(2)
        for name, vector in (("gateBias", gateBias), ("expertScale", expertScale)):
            if vector is not None:
                require_vector(vector, name, experts)
        if groups < 1 or experts % groups:
            raise ShapeError(f"groups must divide {experts} experts, but it is {groups}", experts, groups)
        size = experts // groups
        if not 1 <= topGroups <= groups or not 1 <= groupTop <= size:
            raise ShapeError(
                f"topGroups must be 1 to {groups} and groupTop 1 to {size}, but they are {topGroups} and {groupTop}",
                topGroups,
                groupTop,
            )
        if not 1 <= topk <= topGroups * size:
            raise ShapeError(f"topk must be 1 to {topGroups * size}, as many as can be chosen, but it is {topk}", topk)
        if needNorm not in NORMS:
            raise ShapeError(f"needNorm must be 0, 1, 2 or 3, but it is {needNorm}")
        if needNorm == NORM_MIXER and (gateBias is not None or groups > 1):
            raise ShapeError("with needNorm 3 there are neither a gateBias nor groups")
        return logits.with_shape(*logits.shape[:2], topk), logits.with_shape(*logits.shape[:2], topk)

    @staticmethod
    def reference(
        step: StepContext, logits: Array, topk: int, needNorm: int, routeScale: float, gateBias: Array | None,
        expertScale: Array | None, groups: int, topGroups: int, groupTop: int, epsilon: float, least: float,
        jitter: float,
    ) -> tuple[Array, Array]:  # fmt: skip
        chosen_by = logits if gateBias is None else logits + gateBias
        if topGroups < groups:
            runs = chosen_by.reshape(*chosen_by.shape[:2], groups, -1)
            best = np.sort(runs, axis=-1)[..., -groupTop:].sum(-1)
            kept = np.argsort(-best, axis=-1, kind="stable")[..., :topGroups]
            mask = np.zeros(best.shape, bool)
            np.put_along_axis(mask, kept, True, axis=-1)
            chosen_by = np.where(mask[..., None], runs, -np.inf).reshape(chosen_by.shape)
        index = np.argsort(-chosen_by, axis=-1, kind="stable")[..., :topk]
        score = np.take_along_axis(logits, index, axis=-1)
        if needNorm == NORM_SUM:
            score = score / np.maximum(score.sum(-1, keepdims=True) + np.float32(epsilon), np.float32(least))
        elif needNorm == NORM_MIXER:
            score = _mixed(logits, index, np.float32(2 * jitter))
        elif needNorm != NORM_NONE:
            powers = np.exp(score - score.max(-1, keepdims=True))
            score = powers / powers.sum(-1, keepdims=True)
        score = score * np.float32(routeScale)
        return index.astype(np.float32), score if expertScale is None else score * expertScale[index]

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """One row."""
        from ftllm_nb.kernels.select_expert import SELECT, select_expert, select_scratch_bytes

        source, numbers = node.inputs["logits"], node.attributes
        read = lowering.place(source)
        index, score = (lowering.place(node.outputs[name]) for name in ("index", "score"))
        experts, scale = source.type.size(2), node.inputs.get("expertScale")
        lowering.need_scratch(select_scratch_bytes(experts))
        lowering.add(
            select_expert,
            *SELECT.values(
                input=read.address, input_stride=read.stride, index=index.address, index_stride=index.stride,
                score=score.address, score_stride=score.stride, experts=experts, picks=numbers["topk"],
                bias=lowering.vector([node.inputs.get("gateBias")], [experts]),
                factors=0 if scale is None else lowering.vector([scale], [experts]),
                groups=numbers["groups"], top_groups=numbers["topGroups"], group_top=numbers["groupTop"],
                norm=numbers["needNorm"], scale=float(numbers["routeScale"]), epsilon=float(numbers["epsilon"]),
                least=float(numbers["least"]), apart=2 * float(numbers["jitter"]), count=lowering.count(source),
            ),
        )  # fmt: skip


def _mixed(logits: Array, index: Array, apart: np.float32) -> Array:
    """The weights of a sparse mixer."""
    left, weights = logits.copy(), []
    for pick in np.moveaxis(index, -1, 0)[..., None]:
        best = np.take_along_axis(logits, pick, axis=-1)
        is_far = best - logits > apart * np.maximum(np.abs(logits), best)
        weights.append(1 / np.where(is_far, 0, np.exp(left - best)).sum(-1))
        np.put_along_axis(left, pick, -np.inf, axis=-1)
    return np.stack(weights, axis=-1)
