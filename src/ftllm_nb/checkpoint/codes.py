"""Codes of 8 and 4 bits that stand for floats, by name, and what matrices of them stand for, in NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredScaled
from ftllm_nb.checkpoint.integers import grouped, scales_as_float32
from ftllm_nb.quantized_type import ScaledType


class Code(NamedTuple):
    """What the codes of so many bits stand for, float32 [2 ** bits]."""

    bits: int
    values: NDArray[np.float32]


def _minifloats(exponent_bits: int, mantissa_bits: int, bias: int) -> NDArray[np.float32]:
    """A sign, an exponent and a mantissa, as IEEE 754 has them, but that the largest exponent is one like others."""
    codes = np.arange(1 << (1 + exponent_bits + mantissa_bits))
    exponents = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissas = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    magnitudes = np.ldexp(np.where(exponents == 0, mantissas, 1 + mantissas), np.maximum(exponents, 1) - bias)
    return np.asarray(np.where(codes >> (exponent_bits + mantissa_bits), -magnitudes, magnitudes), np.float32)


def _e4m3() -> NDArray[np.float32]:
    """No infinities; of the largest exponent the largest mantissa is no number."""
    values = _minifloats(4, 3, 7)
    values[[0x7F, 0xFF]] = np.nan
    return values


_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Quantiles of the normal distribution (QLoRA, appendix E)."""
_BNB_FP4 = (0.0, 0.005208333333333333, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25)
"""bitsandbytes' floats of 4 bits, which are none of a standard."""

CODES = {
    "e4m3": Code(8, _e4m3()),
    "e5m2": Code(8, (np.arange(256).astype(np.uint16) << 8).view(np.float16).astype(np.float32)),
    "e2m1": Code(4, _minifloats(2, 1, 1)),
    "nf4": Code(4, np.array(_NF4, np.float32)),
    "fp4": Code(4, np.array([*_BNB_FP4, *(-each for each in _BNB_FP4)], np.float32)),
    "u4": Code(4, np.arange(16, dtype=np.float32)),
    "u8": Code(8, np.arange(256, dtype=np.float32)),
}
"""By name: floats of 8 bits (e4m3, e5m2) and of 4 (e2m1; nf4 and fp4 are bitsandbytes'), whole numbers from 0 on."""


def unpacked(codes: NDArray[np.uint8], bits: int, columns: int) -> NDArray[np.uint8]:
    """uint8 [rows, columns] of `StoredScaled.codes`."""
    if bits == 4:
        codes = np.stack((codes & np.uint8(15), codes >> np.uint8(4)), axis=-1).reshape(len(codes), -1)
    return codes[:, :columns]


def scaled_floats(stored: StoredScaled, type: ScaledType, columns: int) -> NDArray[np.float32]:
    """float32 [rows, columns]."""
    code = CODES[type.code]
    weight = code.values[unpacked(stored.codes, code.bits, columns)]
    width = type.group or columns
    scales = scales_as_float32(stored.scales)
    offsets = None if stored.offsets is None else scales_as_float32(stored.offsets)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite stays so, and is found by who uses it
        for part, groups in grouped(weight, width):
            part *= scales[:, groups, None]
            if offsets is not None:
                part += offsets[:, groups, None]
    return weight
