"""How keys and values lie in a block of the KV cache, which holds BLOCK_POSITIONS positions of all layers.

For each layer and kv head, keys are a matrix of positions and values one of features, in the layout that the tile of
their type reads as weights, so that scores and results are plain matrix products:

- floats (matmul_tile.py): keys `[positions/16][key dim][16]`, values `[value dim/16][positions][16]`;
- int8 (wide_tile.py), as unsigned bytes with 128 for zero: for each 16 positions, keys `[key dim/4][16][4]` and their
  scales, float32 `[16]`; values `[value dim/16][positions/4][16][4]`, and behind all of them their scales, float32
  `[positions]`. Dimensions are padded to a multiple of 16. Keys, unless they are values as well, are first multiplied
  by a Hadamard matrix (hadamard.py), and so is what they are multiplied by.
"""

from __future__ import annotations

from ftllm_nb.kernels.emit import usable_in_kernels
from ftllm_nb.kernels.matmul_tile import INT8, WEIGHT_BYTES

BLOCK_POSITIONS = 64
"""Positions of a cache block."""
SPAN_BLOCKS = 4
"""Cache blocks of a span: few merges of spans, and enough spans of a long context for all workers."""
SPAN_POSITIONS = SPAN_BLOCKS * BLOCK_POSITIONS


@usable_in_kernels
def padded(size: int) -> int:
    """A size rounded up to whole vectors."""
    return -(-size // 16) * 16


@usable_in_kernels
def key_columns(kind: int, key_dim: int) -> int:
    """Elements of a key in a cache of type `kind`."""
    return padded(key_dim) if kind == INT8 else key_dim


def scale_bytes(kind: int) -> int:
    """Bytes of the scales of a kv head's keys, or values, in a block."""
    return 4 * BLOCK_POSITIONS if kind == INT8 else 0


def key_bytes(kind: int, key_dim: int) -> int:
    """Bytes of the keys of a kv head in a block."""
    return BLOCK_POSITIONS * key_columns(kind, key_dim) * WEIGHT_BYTES[kind] + scale_bytes(kind)


def value_bytes(kind: int, value_dim: int) -> int:
    """Bytes of the values of a kv head in a block."""
    return BLOCK_POSITIONS * padded(value_dim) * WEIGHT_BYTES[kind] + scale_bytes(kind)
