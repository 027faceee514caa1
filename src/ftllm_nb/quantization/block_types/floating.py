"""Floats: both methods round to nearest, ties to even."""

from __future__ import annotations

import numpy as np

from ftllm_nb.checkpoint.bfloat16 import float32_as_bfloat16
from ftllm_nb.quantization.block_types.base import Bytes, Floats, WrittenType, as_half


def _f32(blocks: Floats) -> Bytes:
    return blocks.astype("<f4").view(np.uint8)


def _f16(blocks: Floats) -> Bytes:
    return as_half(blocks)[1]


def _bf16(blocks: Floats) -> Bytes:
    return float32_as_bfloat16(blocks).astype("<u2").view(np.uint8)


TYPES = tuple(
    WrittenType(name, 1, nbytes, file_type, way)
    for name, nbytes, file_type, way in (("F32", 4, 0, _f32), ("F16", 2, 1, _f16), ("BF16", 2, 32, _bf16))
)
