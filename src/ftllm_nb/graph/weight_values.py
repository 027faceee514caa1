"""The weights of a graph: tensors of the checkpoint as they are, or what is computed from one when it is loaded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32, float32_as_bfloat16
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.ir import Value
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.graph.types import FLOAT_TYPES, ShapeError, TensorType, format_shape
from ftllm_nb.quantized_type import ElementType, is_quantized


class TensorHeader(Protocol):
    """What a checkpoint's header says of a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> ElementType:
        """ "float32", "float16", "bfloat16", another type's name, or a quantized one."""


def weight_value(call: Call, reference: WeightReference, header: TensorHeader) -> Value:
    """The value of a weight that the call reads. Raises `GraphError` for types and shapes that it cannot have.

    What is computed has float32's precision while it is; then a matrix has its tensor's type again, all else
    float32: also what is computed from a matrix that the checkpoint holds quantized, but not a stack of such.
    """
    name, dtype, shape = reference.name, header.dtype, tuple(header.shape)
    if is_quantized(dtype) and (reference.steps or len(shape) not in (2, 3)):
        dtype = "float32"
    if dtype not in FLOAT_TYPES and not is_quantized(dtype):
        raise call.error(
            f'reads weight "{name}", which the checkpoint stores as {dtype}; supported are {", ".join(FLOAT_TYPES)}.'
        )
    for step in reference.steps:
        try:
            shape = step.shape(shape)
        except ShapeError as error:
            stored = format_shape(tuple(header.shape))
            raise call.error(f'reads weight "{reference.text}" of "{name}" {stored}, but {error}.') from None
    if len(shape) != 2 and any(step.computes for step in reference.steps):
        dtype = "float32"
    value = Value(reference.text, TensorType(shape, dtype), "weight", computed=reference if reference.steps else None)
    if 0 in shape:
        raise call.error(f'reads weight "{value.name}" {value.type}, which holds no number.')
    return value


def computed_array(value: Value, stored: NDArray[Any], dtype: ElementType) -> NDArray[Any]:
    """A computed weight of its value's type, from its tensor as a checkpoint reads it, of type `dtype`.

    bfloat16 is its bits in uint16, here as there. What only moves is not copied.
    """
    assert value.computed is not None
    steps = value.computed.steps
    if not any(step.computes for step in steps):
        for step in steps:
            stored = step.apply(stored)
        return stored
    array = bfloat16_as_float32(stored) if dtype == "bfloat16" else stored.astype(np.float32)
    for step in steps:
        array = step.apply(array)
    if value.type.dtype == "bfloat16":
        return float32_as_bfloat16(array)
    with np.errstate(over="ignore"):  # an infinity is found where it is packed
        return array.astype(str(value.type.dtype))

