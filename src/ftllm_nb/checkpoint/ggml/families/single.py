"""Types of one level: a float16 scale for each block, and a float16 minimum in those that end in _1 and have 4 or 5
bits."""

from __future__ import annotations

import numpy as np

from ftllm_nb.checkpoint.ggml.block_type import BlockType, Bytes, Decoded, fields, halves, words


def _numbers5(blocks: Bytes, at: int) -> Bytes:
    """0 … 31: a word of fifth bits begins at byte `at`, the other four bits behind it."""
    fifth = np.unpackbits(blocks[:, at : at + 4], axis=-1, bitorder="little")
    return fields(blocks[:, at + 4 :], 4, 16) | fifth << np.uint8(4)


def _q4_0(blocks: Bytes) -> Decoded:
    return Decoded(fields(blocks[:, 2:], 4, 16).astype(np.int8) - np.int8(8), halves(blocks, 0))


def _q4_1(blocks: Bytes) -> Decoded:
    return Decoded(fields(blocks[:, 4:], 4, 16), halves(blocks, 0), -halves(blocks, 2))


def _q5_0(blocks: Bytes) -> Decoded:
    return Decoded(_numbers5(blocks, 2).astype(np.int8) - np.int8(16), halves(blocks, 0))


def _q5_1(blocks: Bytes) -> Decoded:
    return Decoded(_numbers5(blocks, 4), halves(blocks, 0), -halves(blocks, 2))


def _q8_0(blocks: Bytes) -> Decoded:
    return Decoded(words(blocks, 2, 32, np.int8), halves(blocks, 0))


def _q1_0(blocks: Bytes) -> Decoded:
    bits = np.unpackbits(blocks[:, 2:], axis=-1, bitorder="little").astype(np.int8)
    return Decoded(2 * bits - np.int8(1), halves(blocks, 0))


def _q2_0(blocks: Bytes) -> Decoded:
    return Decoded(fields(blocks[:, 2:], 2, 1).astype(np.int8) - np.int8(1), halves(blocks, 0))


TYPES = (
    BlockType("Q1_0", 128, 18, _q1_0),
    BlockType("Q2_0", 64, 18, _q2_0),
    BlockType("Q4_0", 32, 18, _q4_0),
    BlockType("Q4_1", 32, 20, _q4_1),
    BlockType("Q5_0", 32, 22, _q5_0),
    BlockType("Q5_1", 32, 24, _q5_1),
    BlockType("Q8_0", 32, 34, _q8_0),
)
