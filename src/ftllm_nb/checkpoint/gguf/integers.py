"""Types of blocks that are integers with a float16 scale for 32 columns, as such."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredIntegers
from ftllm_nb.quantized_type import QuantizedType

INTEGER_TYPES = {"Q8_0": QuantizedType(8, 32, "float16"), "Q4_0": QuantizedType(4, 32, "float16")}
"""ggml's names → the types that they are."""
_SCALE_BYTES = 2


def stored_integers(kind: str, rows: NDArray[np.uint8]) -> StoredIntegers:
    """The numbers and scales of a matrix of these blocks, uint8 [rows, bytes of a row]."""
    half = INTEGER_TYPES[kind].half
    block_bytes = _SCALE_BYTES + 32 * INTEGER_TYPES[kind].bits // 8
    blocks = rows.reshape(len(rows), -1, block_bytes)
    scales = np.ascontiguousarray(blocks[..., :_SCALE_BYTES]).view("<f2")[..., 0]
    packed = blocks[..., _SCALE_BYTES:]
    if kind == "Q4_0":  # the lower halves of bytes are the first 16 numbers
        numbers = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.int8) - np.int8(half)
    else:
        numbers = np.ascontiguousarray(packed).view(np.int8)
    return StoredIntegers(numbers.reshape(len(rows), -1), scales, None)
