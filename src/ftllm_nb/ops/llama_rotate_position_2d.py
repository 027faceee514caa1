"""LlamaRotatePosition2D: rotary position embedding on the two halves of each head (Su et al., 2021)."""

from __future__ import annotations

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.kernels.cache_rows import rotate
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class LlamaRotatePosition2D(Operator):
    """Rotate the pairs (j, j + headDim/2), j < min(rotaryDim, headDim/2), by the position's angle, in place.

    `sin` and `cos` are float32 [positions, angles]. rotaryDim = headDim and headDim // 2 both mean the whole
    head.
    """

    parameters = (
        Parameter("input", Kind.INPLACE),
        Parameter("positionIds", Kind.INPUT, only="positionIds"),
        Parameter("sin", Kind.INPUT),
        Parameter("cos", Kind.INPUT),
        Parameter("rotaryDim", Kind.INT),
    )

    @staticmethod
    def infer(
        input: TensorType, positionIds: TensorType, sin: TensorType, cos: TensorType, rotaryDim: int
    ) -> TensorType:
        require_activation(input, "input", rank=4)
        if positionIds.dtype != "int32" or positionIds.shape != input.shape[:2]:
            raise ShapeError('positionIds must be data["positionIds"], one position for each token of input')
        require_activation(sin, "sin", rank=2)
        require_activation(cos, "cos", rank=2)
        if input.size(-1) % 2:
            raise ShapeError(
                f"input must have heads of even size, but headDim is {input.size(-1)}", input.size(-1)
            )
        if rotaryDim < 1:
            raise ShapeError(f"rotaryDim must be at least 1, but it is {rotaryDim}")
        pairs = min(rotaryDim, input.size(-1) // 2)
        angles = min(sin.size(-1), cos.size(-1))
        if pairs > angles:
            raise ShapeError(
                f"input needs {pairs} angles a position, for its headDim {input.size(-1)}, but sin and cos "
                f'have {angles}, half of config["head_dim"]',
                input.size(-1),
                2 * angles,
            )
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, sin: Array, cos: Array, rotaryDim: int
    ) -> Array:
        half = input.shape[-1] // 2
        pairs = min(rotaryDim, half)
        sine = sin[positionIds, None, :pairs]
        cosine = cos[positionIds, None, :pairs]
        first, second = input[..., :pairs], input[..., half : half + pairs]
        output = input.copy()
        output[..., :pairs] = first * cosine - second * sine
        output[..., half : half + pairs] = second * cosine + first * sine
        return output

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source = node.inputs["input"]
        place, dim = lowering.place(source), source.type.size(-1)
        lowering.add(
            rotate, place.address, place.stride, features(source) // dim, dim,
            int(min(node.attributes["rotaryDim"], dim // 2)),
            lowering.rope_table(node.inputs["sin"]), lowering.rope_table(node.inputs["cos"]),
            4 * node.inputs["sin"].type.size(-1),
        )  # fmt: skip
