"""The tensors that stand for a quantized matrix: their names, and what lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors.packing import pack, pack_zero_points
from ftllm_nb.checkpoint.compressed_tensors.scheme import PACK_QUANTIZED, WeightScheme

WEIGHT, PACKED, SCALE, ZERO_POINT, SHAPE = (
    ".weight", ".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_shape",
)  # fmt: skip
"""What a module's name is followed by in the names of its tensors."""
COLUMN_GROUPS = ".weight_g_idx"
"""The group of each column, where columns are ordered by activation."""


@dataclass(frozen=True)
class QuantizedMatrix:
    """A matrix as whole numbers: weight = (step − zero point) · scale.

    `steps`: int8 [rows, columns]. `scales`: [rows, groups], float16 or float32, or bfloat16's bits as uint16.
    `zero_points`: int8 [rows, groups], None for zeros.
    """

    steps: NDArray[np.int8]
    scales: NDArray[Any]
    zero_points: NDArray[np.int8] | None = None


def stored_tensors(module: str, matrix: QuantizedMatrix, scheme: WeightScheme) -> dict[str, NDArray[Any]]:
    """The tensors, by name, in which the layout keeps the matrix of a module (`model.layers.0.mlp.up_proj`)."""
    tensors: dict[str, NDArray[Any]] = {module + SCALE: matrix.scales}
    packs = scheme.layout == PACK_QUANTIZED
    if packs:
        tensors[module + PACKED] = pack(matrix.steps, scheme.bits)
        tensors[module + SHAPE] = np.array(matrix.steps.shape, np.int64)
    else:
        tensors[module + WEIGHT] = matrix.steps
    if matrix.zero_points is not None:
        zero_points = matrix.zero_points
        tensors[module + ZERO_POINT] = pack_zero_points(zero_points, scheme.bits) if packs else zero_points
    return tensors
