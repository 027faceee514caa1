"""Numbers of some bits into the bytes of a block: where they lie is ggml's."""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.memory import load_byte, store_byte
from ftllm_nb.kernels.simd import spread, store_bytes, to_int

SPARE_BYTES = 1024
"""Memory that quantizers work in: 256 numbers, and floats for each 16 columns."""


@numba.njit(inline="always")
def store_numbers(place, numbers, offset):
    """16 whole floats, plus `offset`, as bytes."""
    store_bytes(place, to_int(numbers + spread(np.float32(offset))))


@numba.njit
def lay_halves(numbers, run, size, target):
    """Bytes below 16 in pairs: of each 2 · `run` numbers the second half is the upper half of the bytes."""
    for begin in range(0, size, 2 * run):
        for at in range(run):
            low, high = load_byte(numbers + begin + at), load_byte(numbers + begin + run + at)
            store_byte(target + begin // 2 + at, (low & 15) | ((high & 15) << 4))


@numba.njit
def lay_bits(numbers, first, count, run, size, target):
    """`count` bits of each byte from bit `first` on: of each run of 8 / count · `run` numbers the first `run` are the
    lowest bits of `run` bytes, the next ones the next."""
    each = 8 // count
    for begin in range(0, size, each * run):
        for at in range(run):
            byte = 0
            for part in range(each):
                number = load_byte(numbers + begin + part * run + at) >> first
                byte |= (number & ((1 << count) - 1)) << (count * part)
            store_byte(target + begin // each + at, byte)


@numba.njit
def lay_fifth_bits(numbers, target):
    """Bit 4 of 32 bytes, as the bits of 4."""
    for byte in range(4):
        found = 0
        for at in range(8):
            found |= ((load_byte(numbers + 8 * byte + at) >> 4) & 1) << at
        store_byte(target + byte, found)


@numba.njit
def lay_scales(scales, minimums, target):
    """8 scales and 8 minimums of 6 bits, a byte each, in the 12 bytes that Q4_K and Q5_K have."""
    for at in range(4):
        low, high = load_byte(scales + at), load_byte(scales + 4 + at)
        under, over = load_byte(minimums + at), load_byte(minimums + 4 + at)
        store_byte(target + at, low | ((high >> 4) << 6))
        store_byte(target + 4 + at, under | ((over >> 4) << 6))
        store_byte(target + 8 + at, (high & 15) | ((over & 15) << 4))
