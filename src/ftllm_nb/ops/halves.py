"""What gates have in common that take gate and up as the two halves of the last axis."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.ops.base import Array, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


def half_of(input: TensorType) -> TensorType:
    """[.., 2 n] as [.., n]; raises `ShapeError`."""
    require_activation(input, "input")
    size = input.size(-1)
    if size % 2:
        raise ShapeError(f"input must have an even number of features, but it has {size}", size)
    return input.with_shape(*input.shape[:-1], size // 2)


def halves(input: Array) -> tuple[Array, Array]:
    """Gate and up."""
    gate, up = np.split(input, 2, axis=-1)
    return gate, up


def lower_halves(node: LoweredNode, lowering: Lowering, kernel: Kernel) -> None:
    """A row for each run of the last axis: `kernel`, one of kernels/elementwise.py, of its halves."""
    source, target = node.inputs["input"], node.outputs["output"]
    read, written = lowering.place(source), lowering.place(target)
    last = target.type.size(-1)
    for run in range(features(target) // last):
        gate = read.address + run * 2 * last * 4
        lowering.add(
            kernel, gate, read.stride, gate + last * 4, read.stride,
            written.address + run * last * 4, written.stride, last, lowering.count(source), 1.0,
        )  # fmt: skip
