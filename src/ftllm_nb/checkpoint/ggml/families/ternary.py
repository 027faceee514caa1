"""Ternary types: a float16 scale for 256 columns of −1, 0 and 1 (and 2, which TQ2_0's bits can say)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.checkpoint.ggml.block_type import BlockType, Bytes, Decoded, fields, halves


def _digits(packed: Bytes, count: int) -> Bytes:
    """The first `count` digits to the base 3 of bytes that hold n / 243 as n · 256 / 243: of all bytes the first,
    then the second."""
    powers = 3 ** np.arange(count, dtype=np.uint8)
    shifted = packed[:, None, :] * powers[:, None]  # what does not fit a byte are the digits before
    return ((shifted.astype(np.uint16) * 3) >> 8).astype(np.uint8).reshape(len(packed), -1)


def _tq1_0(blocks: Bytes) -> Decoded:
    digits = (_digits(blocks[:, :32], 5), _digits(blocks[:, 32:48], 5), _digits(blocks[:, 48:52], 4))
    return Decoded(np.concatenate(digits, -1).astype(np.int8) - np.int8(1), halves(blocks, 52))


def _tq2_0(blocks: Bytes) -> Decoded:
    return Decoded(fields(blocks[:, :64], 2, 32).astype(np.int8) - np.int8(1), halves(blocks, 64))


TYPES = (BlockType("TQ1_0", 256, 54, _tq1_0), BlockType("TQ2_0", 256, 66, _tq2_0))
