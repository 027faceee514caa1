"""Llama3RopeEncoding: RopeEncoding with Llama 3.1's frequencies."""

from __future__ import annotations

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.rope_encoding import ENCODING, encoded, encoded_type, lower_encoding
from ftllm_nb.ops.rope_frequencies import llama3_frequencies

_NUMBERS = ("ropeTheta", "rotaryDim", "factor", "lowFreqFactor", "highFreqFactor", "originalMaxPosition")


class Llama3RopeEncoding(Operator):
    """Rotate the pairs (j, j + rotaryDim/2) of each head by its position, in place.

    Pairs that turn less than lowFreqFactor times in originalMaxPosition positions turn `factor` times slower, those
    that turn more than highFreqFactor times do not, and between them it is blended.
    """

    parameters = (
        *ENCODING,
        Parameter("factor", Kind.FLOAT, default=1.0),
        Parameter("originalMaxPosition", Kind.INT, default=131072),
        Parameter("lowFreqFactor", Kind.FLOAT, default=1.0),
        Parameter("highFreqFactor", Kind.FLOAT, default=32.0),
    )

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, rotaryDim: int, ropeTheta: float, factor: float,
        originalMaxPosition: int, lowFreqFactor: float, highFreqFactor: float,
    ) -> TensorType:  # fmt: skip
        if highFreqFactor <= lowFreqFactor:
            raise ShapeError(
                f"highFreqFactor must be larger than lowFreqFactor, but they are {highFreqFactor:g} and "
                f"{lowFreqFactor:g}"
            )
        return encoded_type(
            input, positionIds, rotaryDim, ropeTheta=ropeTheta, factor=factor,
            originalMaxPosition=originalMaxPosition, lowFreqFactor=lowFreqFactor,
        )  # fmt: skip

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, rotaryDim: int, ropeTheta: float, factor: float,
        originalMaxPosition: int, lowFreqFactor: float, highFreqFactor: float,
    ) -> Array:  # fmt: skip
        frequencies = llama3_frequencies(
            ropeTheta, rotaryDim, factor, lowFreqFactor, highFreqFactor, originalMaxPosition
        )
        return encoded(input, positionIds, frequencies)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_encoding(node, lowering, llama3_frequencies(*(node.attributes[name] for name in _NUMBERS)))
