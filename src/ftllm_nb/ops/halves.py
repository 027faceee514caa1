"""What gates have in common that take gate and up as the two halves of the last axis."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Parameter, require_activation
from ftllm_nb.ops.forms import OUTPUT, CombiningKernels, lower_formed
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Place, features
from ftllm_nb.quant.activations import Int8Form, SplitForm

HALVES = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT, forms=(Int8Form, SplitForm)))
"""The parameters of such a gate."""


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


def lower_halves(node: LoweredNode, lowering: Lowering, kernels: CombiningKernels) -> None:
    """A row for each run of the last axis, of its halves; in another form than float32 there is one run."""
    source, target, form = node.inputs["input"], node.outputs["output"], node.forms.get(OUTPUT)
    read, size = lowering.place(source), source.type.size(-1)
    if form is not None:
        up = Place(read.address + size // 2 * 4, read.stride)
        lower_formed(form, lowering, kernels, read, up, target, size // 2)
        return
    written, last = lowering.place(target), target.type.size(-1)
    for run in range(features(target) // last):
        gate = read.address + run * 2 * last * 4
        lowering.add(
            kernels.plain, gate, read.stride, gate + last * 4, read.stride,
            written.address + run * last * 4, written.stride, last, lowering.count(source), 1.0,
        )  # fmt: skip
