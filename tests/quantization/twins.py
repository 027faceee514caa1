"""The methods of quantization in NumPy, written from their descriptions: slow, group by group."""

from __future__ import annotations

import numpy as np

Floats = np.ndarray


def half(value: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.float32(value).astype(np.float16).astype(np.float32)


def rounded_numbers(group: Floats, scale: np.float32, zero: int, steps: int) -> Floats:
    """The unsigned numbers of a group."""
    inverse = np.float32(1) / scale if scale != 0 else np.float32(0)
    return np.clip(np.rint(group * inverse).astype(np.int64) + zero, 0, steps - 1)


def lane_sum(values: Floats) -> np.float32:
    """The float32 sum in the order of vectors of 16 lanes: along each lane, then pairwise from the upper half."""
    total = np.zeros(16, np.float32)
    for vector in values.reshape(-1, 16):
        total = total + vector
    while len(total) > 1:
        total = total[: len(total) // 2] + total[len(total) // 2 :]
    return total[0]


def error_of(group: Floats, scale: np.float32, zero: int, steps: int) -> np.float32:
    """The squared error of a group, and that along the group once more."""
    numbers = (rounded_numbers(group, scale, zero, steps) - zero).astype(np.float32)
    off = group - numbers * scale
    with np.errstate(invalid="ignore", divide="ignore"):
        along = lane_sum(off * group)
        return lane_sum(off * off) + along * (along / lane_sum(group * group))


def base_of(group: Floats, bits: int, symmetric: bool) -> tuple[np.float32, np.float32]:
    """The scale that just reaches all weights, not yet rounded to float16, and the smallest weight or 0."""
    middle = 1 << (bits - 1)
    if symmetric:
        return np.abs(group).max() / np.float32(middle - 0.5), np.float32(0)
    low, high = min(np.float32(0), group.min()), max(np.float32(0), group.max())
    return (high - low) / np.float32(2 * middle - 1), low


def rtn(group: Floats, bits: int, symmetric: bool) -> tuple[np.float32, int]:
    """Scale and zero point."""
    middle = 1 << (bits - 1)
    base, low = base_of(group, bits, symmetric)
    scale = half(base)
    if symmetric or scale == 0:
        return scale, middle
    return scale, int(np.clip(np.rint(-low / scale), 0, 2 * middle - 1))


def mse(group: Floats, bits: int, symmetric: bool) -> tuple[np.float32, int]:
    """Scale and zero point."""
    steps = 1 << bits
    scale, zero = rtn(group, bits, symmetric)
    if scale == 0:
        return scale, zero
    base, _ = base_of(group, bits, symmetric)
    zeros = [zero]
    if bits == 4 and not symmetric:
        zeros = [each for each in (zero - 1, zero, zero + 1) if 0 <= each < steps]
    candidates = [(scale, zero)]
    largest, apart = (1.06, 0.03) if bits == 4 else (1.012, 0.004)
    for number in range(20):
        positive = half(base * (np.float32(largest) - np.float32(number) * np.float32(apart)))
        for tried in (positive, -positive) if bits == 4 and symmetric else (positive,):
            candidates += [(tried, each) for each in zeros if tried != 0]
    scale, zero = min(candidates, key=lambda each: error_of(group, *each, steps))
    for _ in range(2):
        scale = min((scale, fitted(group, scale, zero, steps)), key=lambda each: error_of(group, each, zero, steps))
    return scale, zero


def fitted(group: Floats, scale: np.float32, zero: int, steps: int) -> np.float32:
    """The scale of least error for the numbers that a scale gives; itself where that is none."""
    numbers = (rounded_numbers(group, scale, zero, steps) - zero).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        along = lane_sum(group * numbers)
        found = half((along + along) / (lane_sum(numbers * numbers) + along * (along / lane_sum(group * group))))
    return found if np.isfinite(found) and found != 0 else scale


METHODS = {"rtn": rtn, "mse": mse}


def quantized(
    method: str, weights: Floats, bits: int, group: int, symmetric: bool
) -> tuple[Floats, Floats, Floats]:
    """Signed numbers [rows, columns], float16 scales and unsigned zero points [rows, groups]."""
    rows, columns = weights.shape
    multiple = group or 32
    padded = np.zeros((rows, -(-columns // multiple) * multiple), np.float32)
    padded[:, :columns] = weights
    groups = padded.reshape(rows, -1, group or padded.shape[1])
    numbers = np.zeros(groups.shape, np.int64)
    scales = np.zeros(groups.shape[:2], np.float16)
    zeros = np.zeros(groups.shape[:2], np.uint8)
    for row, number in np.ndindex(*scales.shape):
        scale, zero = METHODS[method](groups[row, number], bits, symmetric)
        scales[row, number], zeros[row, number] = scale, zero
        numbers[row, number] = rounded_numbers(groups[row, number], scale, zero, 1 << bits)
    return (numbers.reshape(padded.shape)[:, :columns] - (1 << (bits - 1))).astype(np.int8), scales, zeros
