"""Operators that write their output in the form in which products read it: float32, 8 bits, or parts.

A parameter's `forms` offers that, and a node's `forms` ask for it. What the operator computes stays the same; the
functions here choose its kernel by the form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftllm_nb.ops.lowering import LoweredNode, Lowering, Place, Tensor, features, lower_each
from ftllm_nb.quant.activations import Int8Form, SplitForm

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel

OUTPUT = "output"
"""The parameter that has forms."""


@dataclass(frozen=True)
class CombiningKernels:
    """Kernels that combine two tensors feature by feature: of kernels/elementwise.py, quantize.py and bf16_parts.py.

    `split`: by the number of parts.
    """

    plain: Kernel
    int8: Kernel
    split: Callable[[int], Kernel]


def lower_combined(
    node: LoweredNode, lowering: Lowering, kernels: CombiningKernels, first: Tensor, second: Tensor
) -> None:
    """A row that writes `output`, in the form that the node asks for."""
    form, target = node.forms.get(OUTPUT), node.outputs[OUTPUT]
    if form is None:
        lower_each(lowering, kernels.plain, first, second, target)
    else:
        lower_formed(form, lowering, kernels, lowering.place(first), lowering.place(second), target, features(first))


def lower_formed(
    form: Any, lowering: Lowering, kernels: CombiningKernels, first: Place, second: Place, target: Tensor, size: int
) -> None:
    """A row that writes the target in a form that is not float32, from `size` features of each token at two places."""
    out, count = lowering.place(target), lowering.count(target)
    shared = (first.address, first.stride, second.address, second.stride, out.address, out.stride, size,
              form.columns(size))  # fmt: skip
    if isinstance(form, SplitForm):
        lowering.add(kernels.split(form.parts), *shared, count)
    else:
        lowering.add(kernels.int8, *shared, *int8_arguments(form, lowering, size)[1:], count)


def int8_arguments(form: Int8Form, lowering: Lowering, size: int) -> tuple[int, int, int]:
    """Columns, columns of a group, and the middle, for a kernel that quantizes `size` features of each token; see
    kernels/quantize.py."""
    columns = form.columns(size)
    lowering.need_scratch(4 * columns)
    return columns, form.group_columns(size), form.code
