"""What a quantized copy will be, as text: a line a tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from ftllm_nb.quantization.folder_form import FolderForm
from ftllm_nb.quantization.tensors import PlannedTensor


class Line(NamedTuple):
    """A tensor: its name, shape, types before and after, sizes in bytes before and after, and a note on it."""

    name: str
    shape: tuple[int, ...]
    before: str
    after: str
    stored: int
    made: int
    note: str


def plan_table(tensors: Iterable[PlannedTensor], format: FolderForm) -> str:
    """The table of a folder's tensors."""
    return lines_as_table(
        Line(
            tensor.name, tensor.shape, tensor.dtype, type_name(tensor), tensor.nbytes,
            sum(output.nbytes for output in format.outputs(tensor)), tensor.note,
        )
        for tensor in tensors
    )  # fmt: skip


def lines_as_table(lines: Iterable[Line]) -> str:
    """Tensor, shape, type before and after, size after, bits a weight; the total last. Aligned markdown.

    Layers are in the order of their numbers.
    """
    rows = [("tensor", "shape", "from", "to", "MB", "bits a weight", "")]
    weights = stored = made = 0
    for line in sorted(lines, key=lambda line: _natural(line.name)):
        count = math.prod(line.shape)
        weights, stored, made = weights + count, stored + line.stored, made + line.made
        shape = " × ".join(map(str, line.shape))
        rows.append((line.name, shape, line.before, line.after, *_sizes(line.made, count), line.note))
    rows.append(("total", f"{weights:,}", f"{stored / 1e6:,.1f} MB", "", *_sizes(made, weights), ""))
    columns = 7 if any(row[-1] for row in rows) else 6
    widths = [max(len(row[column]) for row in rows) for column in range(columns)]
    right = {4, 5}
    texts = [
        "| " + " | ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=False))
        ) + " |"
        for row in rows
    ]  # fmt: skip
    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if column in right else "-") for column, width in enumerate(widths)
    ) + "|"  # fmt: skip
    return "\n".join([texts[0], rule, *texts[1:]])


def sizes(size: int, weights: int) -> str:
    """Bytes of so many weights in words."""
    return f"{size / 1e6:,.1f} MB, {8 * size / weights:.2f} bits a weight"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which model.layers.2 is before model.layers.10."""
    # By a number's length, then its digits: Python refuses to read a number of thousands of digits.
    parts = re.split(r"(\d+)", name)
    return [(len(part.lstrip("0")), part) if part.isdecimal() else (0, part) for part in parts]


def type_name(tensor: PlannedTensor) -> str:
    """The type that a tensor will have."""
    if tensor.blocks is not None:
        return str(tensor.blocks).lower()
    if tensor.scheme is None:
        return tensor.dtype
    return tensor.scheme.name + ("" if tensor.scheme.symmetric else " asymmetric")


def _sizes(size: int, count: int) -> tuple[str, str]:
    return f"{size / 1e6:,.3f}", f"{8 * size / count:.2f}" if count else ""
