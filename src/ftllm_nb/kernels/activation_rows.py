"""How a token's row of activations of 8 bits lies: int8 values `[columns]`, then for each group of them a record.

A record holds a float32 scale, an int32 start and a float32 offset. A dot product with the group's values begins at the
start: ORIGIN minus what stands for zero in unsigned weights times the sum of the values, so that it ends up right.
Weights with zero points multiply a start of minus that sum, without ORIGIN. The offset, −1.5 · 2 ** 23 · scale, serves
sums.py.
"""

from __future__ import annotations

SCALE, START, OFFSET, RECORD_BYTES = 0, 4, 8, 12
"""Where they lie in a record, and its size."""
SUMS_GROUP, SUMS_OF_16, SUMS_OF_32, SUMS_RECORD_BYTES = 256, 16, 48, 64
"""Columns of a group whose record has sums, where these lie in it, and its size."""
LEAST_MAGNITUDE = 1e-30
"""Numbers that share a scale become zeros where the largest magnitude is below: the scale would underflow."""
SPREADS = 1 << 16
"""Added to what stands for zero where kernels are told of it: values are spread by Hadamard's matrix first."""
ORIGIN = 0x4B400000
"""The bits of the float 1.5 · 2 ** 23."""
ORIGIN_VALUE = 1.5 * 2**23
SCALE_MASK = -4
"""What is kept of the bits of a scale: 22 of 24 bits of precision, so that its offset is exact."""


def has_sums(middle: int) -> bool:
    """Whether records have sums, by what stands for zero in the weights: in super-blocks, nothing does."""
    return middle == 0


def record_bytes(middle: int) -> int:
    """The size of a record."""
    return SUMS_RECORD_BYTES if middle == 0 else RECORD_BYTES


def origin(middle: int) -> int:
    """What starts have of ORIGIN, where `middle` stands for zero in the weights, 1 if they have zero points."""
    return 0 if middle == 1 else ORIGIN
