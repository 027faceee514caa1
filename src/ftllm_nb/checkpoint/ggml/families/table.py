"""Types whose 4 bits are places in a table of 16 numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml.block_type import BlockType, Bytes, Decoded, fields, halves, looked_up, words

IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
FP4 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
"""Twice the numbers of 1 sign, 2 exponent and 1 mantissa bits. The second zero is −0, which changes no product."""
FP4_RISING = (*range(15, 8, -1), *range(8))
"""The places of its numbers from the lowest to the highest, without −0."""


def scales6(low: Bytes, high: NDArray[np.uint16]) -> NDArray[np.int8]:
    """IQ4_XS's 8 scales, −32 … 31: four bits of each in `low` [blocks, 4], two in `high` [blocks, 1]."""
    upper = (high >> np.arange(0, 16, 2, dtype=np.uint16)).astype(np.uint8) & np.uint8(3)
    return (fields(low, 4, 1) | upper << np.uint8(4)).astype(np.int8) - np.int8(32)


def _iq4_nl(blocks: Bytes) -> Decoded:
    return Decoded(looked_up(IQ4, fields(blocks[:, 2:], 4, 16)), halves(blocks, 0))


def _iq4_xs(blocks: Bytes) -> Decoded:
    scales = scales6(blocks[:, 4:8], words(blocks, 2, 1, np.uint16))
    return Decoded(looked_up(IQ4, fields(blocks[:, 8:], 4, 16)), halves(blocks, 0) * scales.astype(np.float32))


def _mxfp4(blocks: Bytes) -> Decoded:
    """The scale is a power of two, whose exponent is the byte, halved for the table's numbers are twice as large."""
    exponents = blocks[:, :1].astype(np.uint32)
    bits = np.where(exponents < 2, np.uint32(0x00200000) << exponents, (exponents - 1) << 23)
    return Decoded(looked_up(FP4, fields(blocks[:, 1:], 4, 16)), bits.astype(np.uint32).view(np.float32))


def _nvfp4(blocks: Bytes) -> Decoded:
    """Four scales of 4 exponent and 3 mantissa bits, halved likewise, of 16 columns each."""
    bytes_ = blocks[:, :4]
    exponents, mantissas = (bytes_ >> 3 & 15).astype(np.int32), (bytes_ & 7).astype(np.float32)
    small, normal = mantissas * np.float32(2**-10), np.ldexp(1 + mantissas / 8, exponents - 8)
    scales = np.where(bytes_ == 0x7F, 0, np.where(exponents == 0, small, normal)).astype(np.float32)
    return Decoded(looked_up(FP4, fields(blocks[:, 4:], 4, 8)), scales)


TYPES = (
    BlockType("IQ4_NL", 32, 18, _iq4_nl),
    BlockType("IQ4_XS", 256, 136, _iq4_xs),
    BlockType("MXFP4", 32, 17, _mxfp4),
    BlockType("NVFP4", 64, 36, _nvfp4),
)
