"""The types whose numbers are rows of grids, in blocks that kernels read: exactly the same numbers and scales.

Such a block has 256 columns: 4 bits for each, places in a table, those of 32 columns in 16 bytes, the first half's in
the lower halves; a whole-number scale, int8, for each 16; a float32 that multiplies these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import block_types

COLUMNS, SCALES_AT, FACTOR_AT, BYTES = 256, 128, 144, 148
_IQ3_XXS = (4, 12, 20, 28, 36, 44, 52, 62)
_MAGNITUDES = {
    "IQ1_S": (1, 7, 9),
    "IQ1_M": (1, 7, 9),
    "IQ2_XXS": (8, 25, 43),
    "IQ2_XS": (8, 25, 43),
    "IQ2_S": (8, 25, 43),
    "IQ3_XXS": _IQ3_XXS,
    "IQ3_S": (1, 3, 5, 7, 9, 11, 13, 15),
}
TABLES = {name: (*(-each for each in reversed(sizes)), *sizes) for name, sizes in _MAGNITUDES.items()}
"""The numbers of each type, ascending."""
_BLOCKS_AT_ONCE = 4096


def as_places(name: str, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A matrix of the type `name`, uint8 [rows, bytes of a row], in such blocks [rows, bytes of a row]."""
    type = block_types()[name]
    blocks = raw.reshape(-1, type.nbytes)
    out = np.empty((len(blocks), BYTES), np.uint8)
    place_of = np.zeros(256, np.uint8)
    place_of[np.array(TABLES[name], np.int8).view(np.uint8)] = np.arange(len(TABLES[name]))
    for first in range(0, len(blocks), _BLOCKS_AT_ONCE):
        part, target = blocks[first : first + _BLOCKS_AT_ONCE], out[first : first + _BLOCKS_AT_ONCE]
        decoded = type.decode(part)
        assert decoded.factors is not None, "of all types here"
        whole, factor = decoded.factors
        halves = place_of[decoded.numbers.view(np.uint8)].reshape(len(part), 8, 2, 16)
        target[:, :SCALES_AT] = (halves[:, :, 0] | halves[:, :, 1] << np.uint8(4)).reshape(len(part), -1)
        target[:, SCALES_AT:FACTOR_AT] = np.repeat(whole, 16 // whole.shape[1], axis=1).view(np.uint8)
        target[:, FACTOR_AT:] = factor.astype("<f4").view(np.uint8)
    return out.reshape(len(raw), -1)
