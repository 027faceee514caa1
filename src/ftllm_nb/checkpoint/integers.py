"""What the whole numbers of a quantized matrix stand for, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredIntegers
from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from ftllm_nb.checkpoint.compressed_tensors.packing import unpack
from ftllm_nb.quantized_type import QuantizedType


def stand_for(stored: StoredIntegers, type: QuantizedType, columns: int) -> NDArray[np.float32]:
    """float32 [rows, columns]: (number − zero point) · scale. Where groups do not divide the columns, the last one is
    shorter."""
    numbers = stored.numbers if stored.numbers.dtype == np.int8 else unpack(stored.numbers, type.bits, columns)
    scales, width = scales_as_float32(stored.scales), type.group or columns
    weight = numbers.astype(np.float32)
    for part, groups in grouped(weight, width):
        if stored.zero_points is not None:
            part -= stored.zero_points[:, groups, None]
        part *= scales[:, groups, None]
    return weight


def grouped(weight: NDArray[np.float32], width: int) -> Iterator[tuple[NDArray[np.float32], slice]]:
    """Views [rows, groups, columns of a group] of a matrix, and which groups they are: those of `width` columns, and
    the last one where it is shorter."""
    count, rest = divmod(weight.shape[1], width)
    if count:
        yield weight[:, : count * width].reshape(len(weight), count, width), slice(count)
    if rest:
        yield weight[:, None, count * width :], slice(count, count + 1)


def scales_as_float32(scales: NDArray[Any]) -> NDArray[np.float32]:
    """Scales, of which bfloat16 come as their bits."""
    return bfloat16_as_float32(scales) if scales.dtype == np.uint16 else scales.astype(np.float32)
