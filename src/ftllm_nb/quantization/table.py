"""What a quantized copy will be, as text: a line a tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from ftllm_nb.quantization.formats.base import OutputFormat, PlannedTensor


def plan_table(tensors: Iterable[PlannedTensor], format: OutputFormat) -> str:
    """Tensor, shape, type before and after, size after, bits a weight; the total last. Aligned markdown.

    Layers are in the order of their numbers.
    """
    rows = [("tensor", "shape", "from", "to", "MB", "bits a weight", "")]
    weights = stored = made = 0
    for tensor in sorted(tensors, key=lambda tensor: _natural(tensor.name)):
        count, size = math.prod(tensor.shape), sum(output.nbytes for output in format.outputs(tensor))
        weights, stored, made = weights + count, stored + tensor.nbytes, made + size
        shape = " × ".join(map(str, tensor.shape))
        rows.append((tensor.name, shape, tensor.dtype, type_name(tensor), *_sizes(size, count), tensor.note))
    rows.append(("total", f"{weights:,}", f"{stored / 1e6:,.1f} MB", "", *_sizes(made, weights), ""))
    columns = 7 if any(row[-1] for row in rows) else 6
    widths = [max(len(row[column]) for row in rows) for column in range(columns)]
    right = {4, 5}
    lines = [
        "| " + " | ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=False))
        ) + " |"
        for row in rows
    ]  # fmt: skip
    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if column in right else "-") for column, width in enumerate(widths)
    ) + "|"  # fmt: skip
    return "\n".join([lines[0], rule, *lines[1:]])


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which model.layers.2 is before model.layers.10."""
    # By a number's length, then its digits: Python refuses to read a number of thousands of digits.
    parts = re.split(r"(\d+)", name)
    return [(len(part.lstrip("0")), part) if part.isdecimal() else (0, part) for part in parts]


def type_name(tensor: PlannedTensor) -> str:
    """The type that a tensor will have."""
    if tensor.scheme is None:
        return tensor.dtype
    return tensor.scheme.name + ("" if tensor.scheme.symmetric else " asymmetric")


def _sizes(size: int, count: int) -> tuple[str, str]:
    return f"{size / 1e6:,.3f}", f"{8 * size / count:.2f}" if count else ""
