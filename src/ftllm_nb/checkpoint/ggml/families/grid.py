"""Types of 1 to 3 bits: 8 or 4 neighbouring numbers are a row of a grid that all models share, beside their signs.

The grids lie in grids.npz, int8 [rows, numbers]; tests/checkpoint/ggml/make_golden.py takes them from the `gguf`
package.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml.block_type import BlockType, Bytes, Decoded, fields, halves, words

COLUMNS = 256
Numbers = NDArray[np.int8]
Codes = NDArray[Any]
"""Unsigned integers."""


@functools.cache
def grid(name: str) -> Numbers:
    """The grid of a type."""
    with np.load(Path(__file__).parent.parent / "grids.npz") as grids:
        found: Numbers = grids[name]
    return found


def _signs(bits: Bytes) -> Numbers:
    """1, or −1 where a bit is set: [blocks, 8 · bytes]."""
    signs: Numbers = np.int8(1) - (np.unpackbits(bits, axis=-1, bitorder="little") << np.uint8(1)).astype(np.int8)
    return signs


def _signs_of_seven(codes: Codes) -> Numbers:
    """Signs of eight numbers from 7 bits: the eighth bit makes their number even."""
    eighth = np.bitwise_xor.reduce((codes[..., None] >> np.arange(7, dtype=np.uint32)) & np.uint32(1), -1)
    return _signs((codes | eighth << np.uint32(7)).astype(np.uint8).reshape(len(codes), -1))


def _sevens(word: Codes) -> Codes:
    """The four codes of 7 bits in each word, and above them the scale: [blocks, 4 · words]."""
    shifts = np.arange(0, 28, 7, dtype=np.uint32)
    return ((word[..., None] >> shifts) & np.uint32(127)).reshape(len(word), -1)


def _rows(name: str, indices: Codes) -> Numbers:
    found: Numbers = grid(name)[indices].reshape(len(indices), -1)
    return found


def _decoded(numbers: Numbers, scale: NDArray[np.float32], codes: Codes, factor: float) -> Decoded:
    """Numbers times scale · (2 · code + 1) · factor, a power of two: exact."""
    whole, scale = (2 * codes + 1).astype(np.int8), scale * np.float32(factor)
    return Decoded(numbers, scale * whole.astype(np.float32), None, (whole, scale))


def _iq2_xxs(blocks: Bytes) -> Decoded:
    pairs = words(blocks, 2, 16, np.uint32)
    signs = _signs_of_seven(_sevens(pairs[:, 1::2]))
    indices = blocks[:, 2:].reshape(len(blocks), 8, 8)[..., :4].reshape(len(blocks), -1)
    return _decoded(_rows("IQ2_XXS", indices) * signs, halves(blocks, 0), pairs[:, 1::2] >> 28, 1 / 8)


def _iq2_xs(blocks: Bytes) -> Decoded:
    codes = words(blocks, 2, 32, np.uint16)
    signs = _signs_of_seven((codes >> 9).astype(np.uint32))
    numbers = _rows("IQ2_XS", codes & np.uint16(511)) * signs
    return _decoded(numbers, halves(blocks, 0), fields(blocks[:, 66:], 4, 1), 1 / 8)


def _iq2_s(blocks: Bytes) -> Decoded:
    indices = blocks[:, 2:34].astype(np.uint16) | fields(blocks[:, 66:74], 2, 1).astype(np.uint16) << 8
    numbers = _rows("IQ2_S", indices) * _signs(blocks[:, 34:66])
    return _decoded(numbers, halves(blocks, 0), fields(blocks[:, 74:], 4, 1), 1 / 8)


def _iq3_xxs(blocks: Bytes) -> Decoded:
    both = words(blocks, 66, 8, np.uint32)
    numbers = _rows("IQ3_XXS", blocks[:, 2:66]) * _signs_of_seven(_sevens(both))
    return _decoded(numbers, halves(blocks, 0), both >> 28, 1 / 4)


def _iq3_s(blocks: Bytes) -> Decoded:
    indices = blocks[:, 2:66].astype(np.uint16) | fields(blocks[:, 66:74], 1, 1).astype(np.uint16) << 8
    numbers = _rows("IQ3_S", indices) * _signs(blocks[:, 74:106])
    return _decoded(numbers, halves(blocks, 0), fields(blocks[:, 106:], 4, 1), 1)


def _shifted(name: str, indices: Codes, is_down: NDArray[np.bool_]) -> Numbers:
    """Eight times a grid's numbers plus or minus 1/8, which is of the columns that share an entry of `is_down`."""
    numbers = _rows(name, indices)
    shifts = np.where(is_down, np.int8(-1), np.int8(1))
    shifted: Numbers = numbers * np.int8(8) + np.repeat(shifts, numbers.shape[1] // shifts.shape[1], axis=-1)
    return shifted


def _iq1_s(blocks: Bytes) -> Decoded:
    high = words(blocks, 34, 8, np.uint16)
    eighths = (high[..., None] >> np.arange(0, 12, 3, dtype=np.uint16)) & np.uint16(7)
    indices = blocks[:, 2:34].astype(np.uint16) | eighths.reshape(len(blocks), -1) << 8
    numbers = _shifted("IQ1_S", indices, high >= 0x8000)
    return _decoded(numbers, halves(blocks, 0), high >> 12 & np.uint16(7), 1 / 8)


def _iq1_m(blocks: Bytes) -> Decoded:
    """The float16 lies in the upper four bits of four words, whose other bits are four scales of 3 each."""
    scale_words = words(blocks, 48, 4, np.uint16)
    parts = scale_words >> 12 << np.arange(0, 16, 4, dtype=np.uint16)
    scale = np.bitwise_or.reduce(parts, -1, keepdims=True).view(np.float16).astype(np.float32)
    scales = ((scale_words[..., None] >> np.arange(0, 12, 3, dtype=np.uint16)) & 7).reshape(len(blocks), -1)
    high = fields(blocks[:, 32:48], 4, 1)
    indices = blocks[:, :32].astype(np.uint16) | (high & np.uint8(7)).astype(np.uint16) << 8
    return _decoded(_shifted("IQ1_S", indices, high >= 8), scale, scales, 1 / 8)


TYPES = (
    BlockType("IQ1_S", COLUMNS, 50, _iq1_s),
    BlockType("IQ1_M", COLUMNS, 56, _iq1_m),
    BlockType("IQ2_XXS", COLUMNS, 66, _iq2_xxs),
    BlockType("IQ2_XS", COLUMNS, 74, _iq2_xs),
    BlockType("IQ2_S", COLUMNS, 82, _iq2_s),
    BlockType("IQ3_XXS", COLUMNS, 98, _iq3_xxs),
    BlockType("IQ3_S", COLUMNS, 110, _iq3_s),
)
