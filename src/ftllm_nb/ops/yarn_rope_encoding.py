"""YarnRopeEncoding: RopeEncoding with yarn's frequencies (Peng et al., 2023)."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.rope_encoding import ENCODING, encoded, encoded_type, lower_encoding
from ftllm_nb.ops.rope_frequencies import yarn_frequencies

_NUMBERS = ("ropeTheta", "rotaryDim", "factor", "correctionLow", "correctionHigh")


class YarnRopeEncoding(Operator):
    """Rotate the pairs (j, j + rotaryDim/2) of each head by its position, in place; sin and cos times attentionFactor.

    Pairs before correctionLow turn as fast as ever, those after correctionHigh `factor` times slower, and between them
    is a ramp.
    """

    parameters = (
        *ENCODING,
        Parameter("factor", Kind.FLOAT, default=1.0),
        Parameter("attentionFactor", Kind.FLOAT, default=1.0),
        Parameter("correctionLow", Kind.FLOAT, default=0.0),
        Parameter("correctionHigh", Kind.FLOAT, default=1.0),
    )

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, rotaryDim: int, ropeTheta: float, factor: float,
        attentionFactor: float, correctionLow: float, correctionHigh: float,
    ) -> TensorType:  # fmt: skip
        return encoded_type(input, positionIds, rotaryDim, ropeTheta=ropeTheta, factor=factor)

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, rotaryDim: int, ropeTheta: float, factor: float,
        attentionFactor: float, correctionLow: float, correctionHigh: float,
    ) -> Array:  # fmt: skip
        frequencies = yarn_frequencies(ropeTheta, rotaryDim, factor, correctionLow, correctionHigh)
        return encoded(input, positionIds, frequencies, attentionFactor)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        frequencies = yarn_frequencies(*(node.attributes[name] for name in _NUMBERS))
        lower_encoding(node, lowering, frequencies, float(node.attributes["attentionFactor"]))
