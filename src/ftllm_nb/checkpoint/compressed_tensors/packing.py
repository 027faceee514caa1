"""Whole numbers of 1 to 8 bits side by side in int32 words, as the compressed-tensors package lays them.

A number is stored as itself plus half the range, unsigned; the first one lies in the lowest bits of the first word, a
number may go on in the next word, and the last one is filled up with zero bits. Weights are packed along the columns,
zero points along the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 32
_AT_ONCE = 1 << 20
"""Bytes that are unpacked together."""


def packed_size(count: int, bits: int) -> int:
    """Words that `count` numbers of `bits` bits fill."""
    return -(-count * bits // WORD_BITS)


def pack(values: NDArray[np.int8], bits: int) -> NDArray[np.int32]:
    """int8 [rows, columns], −2^(bits−1) … 2^(bits−1) − 1, as int32 [rows, words]; `bits` is 4 or 8."""
    rows, columns = values.shape
    unsigned = np.zeros((rows, packed_size(columns, bits) * WORD_BITS // bits), np.uint8)
    unsigned[:, :columns] = values.view(np.uint8) + np.uint8(1 << (bits - 1))
    if bits == 4:
        unsigned = (unsigned[:, 0::2] & np.uint8(15)) | (unsigned[:, 1::2] << np.uint8(4))
    return unsigned.view("<i4")


def unpack(words: NDArray[np.int32], bits: int, columns: int) -> NDArray[np.int8]:
    """The int8 [rows, columns] of which `pack` made these int32 [rows, words]."""
    unsigned = unpack_unsigned(words, bits, columns)
    return (unsigned - np.uint8(1 << (bits - 1))).view(np.int8)


def unpack_unsigned(words: NDArray[np.int32], bits: int, columns: int) -> NDArray[np.uint8]:
    """As `unpack`, half the range left added: uint8 [rows, columns]."""
    stored = np.ascontiguousarray(words, "<i4").view(np.uint8)
    if bits == 4:
        halves = np.stack((stored & np.uint8(15), stored >> np.uint8(4)), axis=-1)
        stored = halves.reshape(len(words), -1)
    elif bits != 8:
        stored = _eights(stored, bits)
    return np.ascontiguousarray(stored[:, :columns])


def _eights(stored: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """All numbers of rows of bytes: eight fill `bits` bytes, whatever the bits."""
    rows, width = stored.shape
    count = -(-width // bits)
    found = np.empty((rows, count, 8), np.uint8)
    padded = np.zeros((min(rows, max(1, _AT_ONCE // width)), count * bits), np.uint8)
    for begin in range(0, rows, len(padded)):
        part = stored[begin : begin + len(padded)]
        padded[: len(part), :width] = part
        eights = padded[: len(part)].reshape(len(part), count, bits).astype(np.uint64)
        joined = eights[..., 0]
        for byte in range(1, bits):
            joined |= eights[..., byte] << np.uint64(8 * byte)
        for number in range(8):
            found[begin : begin + len(part), :, number] = (joined >> np.uint64(number * bits)) & np.uint64(
                (1 << bits) - 1
            )
    return found.reshape(rows, -1)


def reordered(words: NDArray[np.int32], bits: int, order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers that are packed along the first axis, int32 [words, n], in another order: place i gets what place
    order[i] holds. `order` fills whole words; `bits` is 4 or 8."""
    in_word, mask = WORD_BITS // bits, np.uint32((1 << bits) - 1)
    targets = (np.arange(in_word, dtype=np.uint32) * np.uint32(bits))[:, None]
    given, found = words.view(np.uint32), np.empty((len(order) // in_word, words.shape[1]), np.uint32)
    for row, places in zip(found, order.reshape(-1, in_word), strict=True):  # a word at a time: caches hold it
        numbers = given[places // in_word] >> (places % in_word * bits).astype(np.uint32)[:, None]
        np.bitwise_or.reduce((numbers & mask) << targets, axis=0, out=row)
    return found.view("<i4")


def pack_zero_points(zero_points: NDArray[np.int8], bits: int) -> NDArray[np.int32]:
    """int8 [rows, groups] as int32 [words, groups]: packed along the rows."""
    return np.ascontiguousarray(pack(np.ascontiguousarray(zero_points.T), bits).T)


def unpack_zero_points(words: NDArray[np.int32], bits: int, rows: int) -> NDArray[np.int8]:
    """The int8 [rows, groups] of which `pack_zero_points` made these int32 [words, groups]."""
    return np.ascontiguousarray(unpack(np.ascontiguousarray(words.T), bits, rows).T)
