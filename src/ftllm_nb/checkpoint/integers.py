"""What the whole numbers of a quantized matrix stand for, in NumPy."""

from __future__ import annotations

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
    count = scales.shape[1]
    if count * width == columns:
        parts = [weight.reshape(len(weight), count, width)]
    else:  # the groups before the last one are seen apart from it
        parts = [weight[:, None, first : first + width] for first in range(0, columns, width)]
    for part, groups in zip(parts, np.split(np.arange(count), len(parts)), strict=True):
        if stored.zero_points is not None:
            part -= stored.zero_points[:, groups, None]
        part *= scales[:, groups, None]
    return weight


def scales_as_float32(scales: NDArray[Any]) -> NDArray[np.float32]:
    """Scales, of which bfloat16 come as their bits."""
    return bfloat16_as_float32(scales) if scales.dtype == np.uint16 else scales.astype(np.float32)
