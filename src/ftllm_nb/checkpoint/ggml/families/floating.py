"""Types that are plain floats: a block is a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from ftllm_nb.checkpoint.ggml.block_type import BlockType, Decoded, words


def _plain(values: NDArray[Any]) -> Decoded:
    return Decoded(values.astype(np.float32), np.ones((len(values), 1), np.float32))


TYPES = (
    BlockType("F32", 1, 4, lambda blocks: _plain(words(blocks, 0, 1, np.float32))),
    BlockType("F16", 1, 2, lambda blocks: _plain(words(blocks, 0, 1, np.float16))),
    BlockType("BF16", 1, 2, lambda blocks: _plain(bfloat16_as_float32(words(blocks, 0, 1, np.uint16)))),
    BlockType("F64", 1, 8, lambda blocks: _plain(words(blocks, 0, 1, np.float64))),
)
