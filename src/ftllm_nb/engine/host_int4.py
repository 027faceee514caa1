"""Keys and values of an int4 cache in NumPy: how they are rounded, by definition, and how they lie in a block.

kernels/int4_rows.py writes the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32, float32_as_bfloat16
from ftllm_nb.hadamard import hadamard, hadamard_size
from ftllm_nb.kernels.activation_rows import LEAST_MAGNITUDE
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, INT4, INT4_GROUP, INT4_ZERO, key_columns
from ftllm_nb.kernels.int4_rows import LEAST_STEPS, MOST_STEPS

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def in_4_bits(rows: Floats) -> tuple[Bytes, Floats]:
    """(numbers, scales) of keys or values [n, heads, dim]: 0 … 15 [n, heads, columns], 8 being zero, and bfloat16's
    floats [n, heads, columns / 32], of rows that are filled up with zeros and multiplied by Hadamard's matrix.

    Of the scales that make a group's number of the largest magnitude −10 to −7 steps, by halves, the one with the least
    squared error is taken; what is beyond −8 or 7 steps becomes that. A group that holds no number, or an infinity, has
    a scale that is none.
    """
    filled = np.zeros((*rows.shape[:-1], key_columns(INT4, rows.shape[-1])), np.float32)
    filled[..., : rows.shape[-1]] = rows
    with np.errstate(all="ignore"):
        groups = hadamard(filled).reshape(*rows.shape[:-1], -1, INT4_GROUP)
        magnitudes = np.abs(groups).max(-1)
        signed = np.where(groups.max(-1) < magnitudes, magnitudes, -magnitudes)
        is_zero = magnitudes < np.float32(LEAST_MAGNITUDE)
        scales = _as_bfloat16(np.where(is_zero, np.float32(0), signed / np.float32(INT4_ZERO)))
        factors, least = np.zeros_like(scales), np.full_like(scales, np.inf)
        for divisor in range(MOST_STEPS, LEAST_STEPS - 1, -1):
            tried = _as_bfloat16(signed / np.float32(divisor / 2))
            factor = np.float32(1) / tried
            error = _summed((groups - _steps(groups, factor) * tried[..., None]) ** 2)
            is_better = (error < least) & ~is_zero
            scales, factors = np.where(is_better, tried, scales), np.where(is_better, factor, factors)
            least = np.where(is_better, error, least)
        numbers = _steps(groups, factors) + np.float32(INT4_ZERO)
    return numbers.astype(np.uint8).reshape(filled.shape), scales


def _steps(groups: Floats, factors: Floats) -> Floats:
    """Numbers times their group's factor, rounded to −8 … 7; what is no number is −8, as in the kernel."""
    rounded = np.rint(groups * factors[..., None])
    found: Floats = np.clip(np.nan_to_num(rounded, nan=-np.inf), -INT4_ZERO, 15 - INT4_ZERO).astype(np.float32)
    return found


def _summed(errors: Floats) -> Floats:
    """The sums of 32 numbers, in the kernel's order: always the upper half onto the lower one."""
    while errors.shape[-1] > 1:
        errors = errors[..., : errors.shape[-1] // 2] + errors[..., errors.shape[-1] // 2 :]
    found: Floats = errors[..., 0]
    return found


def _as_bfloat16(floats: Floats) -> Floats:
    return bfloat16_as_float32(float32_as_bfloat16(floats))


def from_4_bits(numbers: Bytes, scales: Floats, dim: int) -> Floats:
    """What such numbers and scales stand for, [n, heads, dim]."""
    steps = numbers.reshape(*scales.shape, INT4_GROUP).astype(np.float32) - np.float32(INT4_ZERO)
    rows = hadamard((steps * scales[..., None]).reshape(numbers.shape))
    return (rows / np.float32(hadamard_size(numbers.shape[-1])))[..., :dim]


def read_int4(memory: Bytes, is_keys: bool) -> tuple[Bytes, Floats]:
    """A block's numbers [BLOCK_POSITIONS, heads, columns] and scales [BLOCK_POSITIONS, heads, groups]; `memory`
    [heads, bytes]: of its keys, or of its values."""
    packed, scales = _parts(memory, is_keys)
    halves = np.stack([packed & 15, packed >> 4], -3)
    order = (1, 4, 0, 2, 3, 5) if is_keys else (2, 3, 5, 0, 1, 4)
    numbers = halves.transpose(order).reshape(BLOCK_POSITIONS, len(memory), -1)
    return numbers, bfloat16_as_float32(scales).reshape(BLOCK_POSITIONS, len(memory), -1)


def write_int4(memory: Bytes, is_keys: bool, first: int, numbers: Bytes, scales: Floats) -> None:
    """Make these the block's positions from `first` on."""
    kept, _ = read_int4(memory, is_keys)
    kept[first : first + len(numbers)] = numbers
    packed, stored = _parts(memory, is_keys)
    if is_keys:
        halves = kept.reshape(-1, 16, len(memory), packed.shape[2], 2, 4).transpose(2, 0, 3, 4, 1, 5)
    else:
        halves = kept.reshape(-1, 2, 4, len(memory), packed.shape[1], 16).transpose(3, 4, 0, 1, 5, 2)
    packed[...] = halves[..., 0, :, :] | halves[..., 1, :, :] << 4
    stored[np.divmod(np.arange(first, first + len(numbers)), stored.shape[1])] = float32_as_bfloat16(scales)


def _parts(memory: Bytes, is_keys: bool) -> tuple[Bytes, NDArray[np.uint16]]:
    """Views of the packed numbers, of keys [heads, position / 16, column / 8, position, column] and of values [heads,
    column / 16, position / 8, column, position], and of the scales' bits, [a, b, heads, groups] of a · b positions."""
    heads, tiles = len(memory), BLOCK_POSITIONS // 16
    if is_keys:
        by_tile = memory.reshape(heads, tiles, -1)
        end = by_tile.shape[-1] // 9 * 8
        scales = by_tile[..., end:].view(np.uint16).reshape(heads, tiles, -1, 16)
        return by_tile[..., :end].reshape(heads, tiles, -1, 16, 4), scales.transpose(1, 3, 0, 2)
    end = memory.shape[-1] // 9 * 8
    scales = memory[:, end:].view(np.uint16).reshape(heads, 1, -1, BLOCK_POSITIONS)
    return memory[:, :end].reshape(heads, -1, BLOCK_POSITIONS // 8, 16, 4), scales.transpose(1, 3, 0, 2)
