"""How keys and values lie in a block of the KV cache, which holds BLOCK_POSITIONS positions of all layers.

For each layer and kv head, keys are a matrix of positions and values one of features, in the layout that the tile of
their type reads as weights, so that scores and results are plain matrix products:

- floats (matmul_tile.py): keys `[positions/16][key dim][16]`, values `[value dim/16][positions][16]`;
- int8 (wide_tile.py), as unsigned bytes with 128 for zero: for each 16 positions, keys `[key dim/4][16][4]` and their
  scales, float32 `[16]`; values `[value dim/16][positions/4][16][4]`, and behind all of them their scales, float32
  `[positions]`. Dimensions are padded to a multiple of 16. Keys, unless they are values as well, are first multiplied
  by a Hadamard matrix (hadamard.py), and so is what they are multiplied by.
- int4 (integer_tile.py), as four bits with 8 for zero, a scale for each 32 features of a key or value: for each 16
  positions, keys `[key dim/8][16][4]`, where the lower halves of a vector's bytes are its first four features, and
  their scales, bfloat16 `[key dim/32][16]`; values `[value dim/16][positions/8][16][4]`, where the lower halves are the
  first four positions, and behind all of them their scales, bfloat16 `[value dim/32][positions]`. Dimensions are padded
  to a multiple of 32. Keys and values are multiplied by Hadamard matrices.

Keys may have another type than values: INT8_INT4 are keys as in int8, and values as in int4.
"""

from __future__ import annotations

from ftllm_nb.kernels.emit import usable_in_kernels
from ftllm_nb.kernels.matmul_tile import FLOAT32, INT8

INT4, INT8_INT4 = 4, 5
"""Codes of types that caches have beside those of matmul_tile.py."""
BLOCK_POSITIONS = 64
"""Positions of a cache block."""
SPAN_BLOCKS = 4
"""Cache blocks of a span: few merges of spans, and enough spans of a long context for all workers."""
SPAN_POSITIONS = SPAN_BLOCKS * BLOCK_POSITIONS
INT4_GROUP = 32
"""Features of a key or value in an int4 cache that share a scale."""
INT4_ZERO = 8
"""What stands for zero there."""


@usable_in_kernels
def key_kind(kind: int) -> int:
    """The type of the keys in a cache of type `kind`."""
    return INT8 if kind == INT8_INT4 else kind


@usable_in_kernels
def value_kind(kind: int) -> int:
    """The type of the values in a cache of type `kind`."""
    return INT4 if kind == INT8_INT4 else kind


@usable_in_kernels
def padded(size: int) -> int:
    """A size rounded up to whole vectors."""
    return -(-size // 16) * 16


@usable_in_kernels
def key_columns(kind: int, key_dim: int) -> int:
    """Elements of a key in a cache of type `kind`."""
    if kind == INT4:
        return -(-key_dim // INT4_GROUP) * INT4_GROUP
    return padded(key_dim) if key_kind(kind) == INT8 else key_dim


@usable_in_kernels
def value_columns(kind: int, value_dim: int) -> int:
    """Elements of a value, and floats of what it is summed up to."""
    return -(-value_dim // INT4_GROUP) * INT4_GROUP if value_kind(kind) == INT4 else padded(value_dim)


@usable_in_kernels
def _element_bytes(kind: int) -> int:
    """Of a number that is not of four bits."""
    return 4 if kind == FLOAT32 else 1 if kind == INT8 else 2


@usable_in_kernels
def key_tile_bytes(kind: int, key_dim: int) -> int:
    """Bytes of 16 positions' keys of a kv head, with their scales."""
    columns = key_columns(kind, key_dim)
    if kind == INT4:
        return 8 * columns + columns // INT4_GROUP * 32
    return 16 * columns * _element_bytes(key_kind(kind)) + (64 if key_kind(kind) == INT8 else 0)


@usable_in_kernels
def value_tile_bytes(kind: int) -> int:
    """Bytes of 16 features of a block's values of a kv head, without their scales."""
    return BLOCK_POSITIONS * 8 if value_kind(kind) == INT4 else BLOCK_POSITIONS * 16 * _element_bytes(kind)


@usable_in_kernels
def value_scales_bytes(kind: int, value_dim: int) -> int:
    """Bytes of the scales of a block's values of a kv head."""
    if value_kind(kind) == INT4:
        return value_columns(kind, value_dim) // INT4_GROUP * 2 * BLOCK_POSITIONS
    return 4 * BLOCK_POSITIONS if kind == INT8 else 0


@usable_in_kernels
def key_bytes(kind: int, key_dim: int) -> int:
    """Bytes of the keys of a kv head in a block."""
    return BLOCK_POSITIONS // 16 * key_tile_bytes(kind, key_dim)


@usable_in_kernels
def value_bytes(kind: int, value_dim: int) -> int:
    """Bytes of the values of a kv head in a block."""
    tiles = value_columns(kind, value_dim) // 16
    return tiles * value_tile_bytes(kind) + value_scales_bytes(kind, value_dim)
