"""The K types: 256 columns share a float16, which whole-number scales of 16 or 32 columns multiply, and in Q4_K
and Q5_K another for minimums.

`rtn` gives each group the scale of its largest magnitude, or of its span from the smallest weight, or 0, to the
largest. Then scales become whole multiples of the largest one's share, and numbers are rounded
once more, to what those stand for.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ftllm_nb.quantization.block_types.base import (
    Bytes,
    Floats,
    WrittenType,
    as_half,
    inverse,
    packed,
    signed_largest,
)

COLUMNS = 256
_LARGEST = 63
"""Scales and minimums have 6 bits."""


def _groups(blocks: Floats, size: int) -> Floats:
    return blocks.reshape(len(blocks), -1, size)


def _nearest_span(bits: int, blocks: Floats) -> Bytes:
    groups = _groups(blocks, 32)
    low = np.minimum(groups.min(axis=-1, keepdims=True), np.float32(0))
    scales = (groups.max(axis=-1, keepdims=True) - low) / np.float32((1 << bits) - 1)
    return _spanned(bits, groups, scales, low)


def _spanned(bits: int, groups: Floats, scales: Floats, low: Floats) -> Bytes:
    """The blocks of groups [blocks, 8, 32] with scales and minimums, none above 0, [blocks, 8, 1]."""
    count = len(groups)
    (shared, first), whole = _as_multiples(np.maximum(scales, np.float32(0)))
    (shared_low, second), whole_low = _as_multiples(-low)
    scales = shared[..., None] * whole.astype(np.float32)
    low = shared_low[..., None] * whole_low.astype(np.float32)
    steps = np.rint((groups + low) * inverse(scales))
    places = np.clip(steps, 0, (1 << bits) - 1).astype(np.uint8).reshape(count, COLUMNS)
    s, m, four = whole[..., 0], whole_low[..., 0], np.uint8(4)
    sixths = [
        s[:, :4] | s[:, 4:] >> four << np.uint8(6),
        m[:, :4] | m[:, 4:] >> four << np.uint8(6),
        (s[:, 4:] & np.uint8(15)) | (m[:, 4:] & np.uint8(15)) << four,
    ]
    return _span_places(bits, np.concatenate([first, second, *sixths], axis=-1), places)


def _span_places(bits: int, blocks: Bytes, places: Bytes) -> Bytes:
    fifth = [packed(places >> np.uint8(4), 1, 32)] if bits == 5 else []
    return np.concatenate([blocks[:, :16], *fifth, packed(places & np.uint8(15), 4, 32)], axis=-1)


def _as_multiples(scales: Floats) -> tuple[tuple[Floats, Bytes], Bytes]:
    """Numbers [blocks, groups, 1], none below 0, as whole multiples of a float16 for each block."""
    shared = as_half(scales.max(axis=1) / np.float32(_LARGEST))
    whole = np.clip(np.rint(scales * inverse(shared[0])[..., None]), 0, _LARGEST).astype(np.uint8)
    return shared, whole


def _nearest_signed(blocks: Floats) -> Bytes:
    groups = _groups(blocks, 16)
    return _signed(groups, signed_largest(groups) / np.float32(-32))


def _signed(groups: Floats, scales: Floats) -> Bytes:
    """The blocks of groups [blocks, 16, 16] with scales [blocks, 16, 1]."""
    shared, stored = as_half(signed_largest(scales[..., 0]) / np.float32(-128))
    whole = np.clip(np.rint(scales * inverse(shared)[..., None]), -128, 127).astype(np.int8)
    steps = np.rint(groups * inverse(shared[..., None] * whole.astype(np.float32)))
    places = (np.clip(steps, -32, 31) + np.float32(32)).astype(np.uint8).reshape(len(groups), COLUMNS)
    return _signed_places(np.concatenate([whole[..., 0].view(np.uint8), stored], axis=-1), places)


def _signed_places(blocks: Bytes, places: Bytes) -> Bytes:
    low, high = packed(places & np.uint8(15), 4, 64), packed(places >> np.uint8(4), 2, 32)
    return np.concatenate([low, high, blocks[:, -18:]], axis=-1)


TYPES = (
    WrittenType(
        "Q4_K", COLUMNS, 144, 14, partial(_nearest_span, 4), scale_at=0, narrower="Q5_0",
        levels=tuple(map(float, range(16))), group=32, with_places=partial(_span_places, 4),
    ),
    WrittenType(
        "Q5_K", COLUMNS, 176, 16, partial(_nearest_span, 5), scale_at=0, narrower="Q5_1",
        levels=tuple(map(float, range(32))), group=32, with_places=partial(_span_places, 5),
    ),
    WrittenType(
        "Q6_K", COLUMNS, 210, 18, _nearest_signed, scale_at=208, narrower="Q8_0",
        levels=tuple(map(float, range(-32, 32))), group=16, with_places=_signed_places,
    ),
)  # fmt: skip
