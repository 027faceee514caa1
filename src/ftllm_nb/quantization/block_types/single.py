"""Types of one level: 32 columns share a float16 scale, and in those that end in _1 a float16 minimum.

`rtn` makes the bytes of the `gguf` package, which are those of llama.cpp's reference: the largest magnitude is the
lowest number, or 127 in Q8_0; with minimums, numbers go from the smallest to the largest weight.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ftllm_nb.quantization.block_types.base import (
    Bytes,
    Encode,
    Floats,
    WrittenType,
    as_half,
    inverse,
    packed,
    signed_largest,
)

COLUMNS = 32


def _laid(numbers: Bytes, bits: int) -> Bytes:
    """Unsigned numbers of 4 or 5 bits: the fifth bits first."""
    low = packed(numbers & np.uint8(15), 4, 16)
    if bits == 4:
        return low
    return np.concatenate([np.packbits(numbers >> np.uint8(4), axis=-1, bitorder="little"), low], axis=-1)


def _signed_numbers(blocks: Floats, factor: Floats, half: int) -> Bytes:
    steps = blocks * factor + np.float32(half + 0.5)
    numbers: Bytes = np.clip(np.trunc(steps), 0, 2 * half - 1).astype(np.uint8)
    return numbers


def _nearest_signed(bits: int, blocks: Floats) -> Bytes:
    half = 1 << (bits - 1)
    scales = signed_largest(blocks) / np.float32(-half)
    return np.concatenate([as_half(scales)[1], _laid(_signed_numbers(blocks, inverse(scales), half), bits)], axis=-1)


def _nearest_span(bits: int, blocks: Floats) -> Bytes:
    low, high = blocks.min(axis=-1, keepdims=True), blocks.max(axis=-1, keepdims=True)
    scales = (high - low) / np.float32((1 << bits) - 1)
    numbers = _spanned(blocks, low, inverse(scales), bits)
    return np.concatenate([as_half(scales)[1], as_half(low)[1], _laid(numbers, bits)], axis=-1)


def _spanned(blocks: Floats, low: Floats, factor: Floats, bits: int) -> Bytes:
    steps = (blocks - low) * factor + np.float32(0.5)
    numbers: Bytes = np.clip(np.trunc(steps), 0, (1 << bits) - 1).astype(np.uint8)
    return numbers


def _nearest_bytes(blocks: Floats) -> Bytes:
    scales = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    return _as_bytes(blocks, scales, inverse(scales))


def _as_bytes(blocks: Floats, scales: Floats, factor: Floats) -> Bytes:
    """Halves are rounded away from 0."""
    steps = blocks * factor
    sizes = np.abs(steps)
    whole = np.floor(sizes)
    rounded = np.sign(steps) * (whole + np.floor(2 * (sizes - whole)))
    numbers = np.clip(rounded, -127, 127).astype(np.int8)
    return np.concatenate([as_half(scales)[1], numbers.view(np.uint8)], axis=-1)


def _with_places(bits: int, head: int, blocks: Bytes, places: Bytes) -> Bytes:
    """`head`: bytes of what comes before the numbers."""
    laid = _laid(places, bits) if bits < 8 else places - np.uint8(127)
    return np.concatenate([blocks[:, :head], laid], axis=-1)


def _type(name: str, nbytes: int, file_type: int, nearest: Encode, bits: int, lowest: int) -> WrittenType:
    levels = range(lowest, -lowest + 1) if bits == 8 else range(lowest, lowest + (1 << bits))
    return WrittenType(
        name, COLUMNS, nbytes, file_type, nearest, scale_at=0, narrower="F16", levels=tuple(map(float, levels)),
        group=COLUMNS, with_places=partial(_with_places, bits, 2 if lowest else 4),
    )  # fmt: skip


TYPES = (
    _type("Q4_0", 18, 2, partial(_nearest_signed, 4), 4, -8),
    _type("Q4_1", 20, 3, partial(_nearest_span, 4), 4, 0),
    _type("Q5_0", 22, 8, partial(_nearest_signed, 5), 5, -16),
    _type("Q5_1", 24, 9, partial(_nearest_span, 5), 5, 0),
    _type("Q8_0", 34, 7, _nearest_bytes, 8, -127),
)
