"""The K types: 256 columns share a float16, which whole-number scales of 16 or 32 columns multiply."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml.block_type import BlockType, Bytes, Decoded, fields, halves, words

COLUMNS = 256


def scales_and_minimums(packed: Bytes) -> tuple[Bytes, Bytes]:
    """The 8 scales and 8 minimums of 6 bits in 12 bytes of each block [blocks, 12]."""
    low, middle, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], -1)
    minimums = np.concatenate([middle & 63, (high >> 4) | (middle >> 6) << 4], -1)
    return scales, minimums


def scales16(packed: Bytes) -> Bytes:
    """The 16 scales of 6 bits in 12 bytes of each block, as Q3_K has them."""
    return fields(packed[:, :8], 4, 8) | fields(packed[:, 8:], 2, 4) << np.uint8(4)


def _times(scale: NDArray[np.float32], whole: NDArray[np.generic]) -> NDArray[np.float32]:
    return scale * whole.astype(np.float32)


def _q2_k(blocks: Bytes) -> Decoded:
    both = blocks[:, :16]
    scales, minimums = _times(halves(blocks, 80), both & 15), _times(halves(blocks, 82), both >> 4)
    return Decoded(fields(blocks[:, 16:80], 2, 32), scales, minimums)


def _q3_k(blocks: Bytes) -> Decoded:
    low, high = fields(blocks[:, 32:96], 2, 32), fields(blocks[:, :32], 1, 32)
    scales = scales16(blocks[:, 96:108]).astype(np.int8) - np.int8(32)
    return Decoded((low | high << np.uint8(2)).astype(np.int8) - np.int8(4), _times(halves(blocks, 108), scales))


def _q4_k(blocks: Bytes) -> Decoded:
    scales, minimums = scales_and_minimums(blocks[:, 4:16])
    numbers = fields(blocks[:, 16:], 4, 32)
    return Decoded(numbers, _times(halves(blocks, 0), scales), _times(halves(blocks, 2), minimums))


def _q5_k(blocks: Bytes) -> Decoded:
    scales, minimums = scales_and_minimums(blocks[:, 4:16])
    numbers = fields(blocks[:, 48:], 4, 32) | fields(blocks[:, 16:48], 1, 32) << np.uint8(4)
    return Decoded(numbers, _times(halves(blocks, 0), scales), _times(halves(blocks, 2), minimums))


def _q6_k(blocks: Bytes) -> Decoded:
    numbers = fields(blocks[:, :128], 4, 64) | fields(blocks[:, 128:192], 2, 32) << np.uint8(4)
    scales = words(blocks, 192, 16, np.int8)
    return Decoded(numbers.astype(np.int8) - np.int8(32), _times(halves(blocks, 208), scales))


def _q8_k(blocks: Bytes) -> Decoded:
    return Decoded(words(blocks, 4, COLUMNS, np.int8), words(blocks, 0, 1, np.float32))


TYPES = (
    BlockType("Q2_K", COLUMNS, 84, _q2_k),
    BlockType("Q3_K", COLUMNS, 110, _q3_k),
    BlockType("Q4_K", COLUMNS, 144, _q4_k),
    BlockType("Q5_K", COLUMNS, 176, _q5_k),
    BlockType("Q6_K", COLUMNS, 210, _q6_k),
    BlockType("Q8_K", COLUMNS, 292, _q8_k),
)
