"""Types of blocks that are integers with a float16 scale, as such."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredIntegers
from ftllm_nb.checkpoint.ggml import block_types
from ftllm_nb.quantized_type import QuantizedType

INTEGER_TYPES = {
    "Q8_0": QuantizedType(8, 32, "float16"),
    "Q4_0": QuantizedType(4, 32, "float16"),
    "Q2_0": QuantizedType(4, 64, "float16"),
    "Q1_0": QuantizedType(4, 128, "float16"),
    "TQ1_0": QuantizedType(4, 256, "float16"),
    "TQ2_0": QuantizedType(4, 256, "float16"),
}
"""ggml's names → the types that hold them, to the last bit."""


def stored_integers(kind: str, rows: NDArray[np.uint8]) -> StoredIntegers:
    """The numbers and scales of a matrix of these blocks, uint8 [rows, bytes of a row]."""
    type = block_types()[kind]
    decoded = type.decode(np.ascontiguousarray(rows).reshape(-1, type.nbytes))
    scales = decoded.scales.astype(np.float16)  # as which they are stored
    return StoredIntegers(decoded.numbers.reshape(len(rows), -1), scales.reshape(len(rows), -1), None)
