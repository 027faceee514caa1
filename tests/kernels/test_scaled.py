"""Matrices of codes: products have the bits of those with a float32 matrix of the same numbers; look-ups, too."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.checkpoint.base import StoredScaled
from ftllm_nb.checkpoint.codes import CODES, scaled_floats
from ftllm_nb.kernels.step import STEP_TOKEN_IDS, STEP_TOKENS
from ftllm_nb.quant.base import WeightFormat, weight_format
from ftllm_nb.quant.floats import SOURCE_KINDS
from ftllm_nb.quant.scaled import ScaledFormat
from ftllm_nb.quantized_type import ScaledType
from tests.kernels.kernel_runs import run

ROWS, COLUMNS = 40, 148
SLOW = pytest.mark.slow
TYPES = [
    ScaledType("e4m3", 64), ScaledType("nf4", 64), ScaledType("u4", 32, "bfloat16", offsets=True),
    *(pytest.param(type, marks=SLOW) for type in (
        ScaledType("e2m1", 16), ScaledType("e5m2", 0), ScaledType("fp4", 64),
        ScaledType("u8", 32, "float16", offsets=True))),
]  # fmt: skip
"""Each is a product of its own, which takes seconds to compile: quick ones are of bytes, of a table, with offsets."""


def matrix(type: ScaledType) -> StoredScaled:
    """All codes that are numbers, scales that are not all alike."""
    random, code = np.random.default_rng(1), CODES[type.code]
    finite = np.flatnonzero(np.isfinite(code.values)).astype(np.uint8)
    codes = finite[random.integers(0, len(finite), (ROWS, COLUMNS))]
    if code.bits == 4:
        codes = codes[:, ::2] | codes[:, 1::2] << np.uint8(4)
    found = []
    for _ in range(1 + type.offsets):
        scales = (random.random((ROWS, type.groups(COLUMNS))) / 8).astype(np.float32)
        if type.scales == "bfloat16":
            found.append((scales.view(np.uint32) >> 16).astype(np.uint16))
        else:
            found.append(scales.astype(type.scales))
    return StoredScaled(np.ascontiguousarray(codes), found[0], found[1] if type.offsets else None)


def packed(format: WeightFormat, source: str, arrays: list[np.ndarray]) -> np.ndarray:
    """A matrix of [ROWS, COLUMNS] in memory."""
    memory, fault = np.zeros(format.packed_bytes(ROWS, COLUMNS), np.uint8), np.zeros(1, np.int64)
    first, *others = (each.ctypes.data for each in arrays)
    kernel = format.pack_kernel(source)
    run(kernel, 0, first, memory.ctypes.data, ROWS, COLUMNS, fault.ctypes.data, *others)
    assert fault[0] == 0
    return memory


def product(format: WeightFormat, memory: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x · wᵀ + ½."""
    blocks = -(-ROWS // 16)
    bias, out = np.full(16 * blocks, 0.5, np.float32), np.full((len(x), 16 * blocks), np.nan, np.float32)
    run(format.linear_kernel(), len(x), x.ctypes.data, x.strides[0], COLUMNS, memory.ctypes.data,
        format.block_bytes(COLUMNS), blocks, bias.ctypes.data, out.ctypes.data, 64 * blocks,
        STEP_TOKENS)  # fmt: skip
    return out[:, :ROWS]


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_products_and_rows_are_those_of_float32(type: ScaledType) -> None:
    stored = matrix(type)
    floats = scaled_floats(stored, type, COLUMNS)
    offsets = np.empty(0, np.uint8) if stored.offsets is None else stored.offsets
    format, exact = ScaledFormat(type), weight_format("float32")
    assert type.scales in SOURCE_KINDS
    ours = packed(format, "", [stored.codes, stored.scales, offsets])
    plain = packed(exact, "float32", [floats])
    x = np.random.default_rng(2).standard_normal((31, COLUMNS)).astype(np.float32)
    for count in (1, 5, 31):
        values = np.ascontiguousarray(x[:count])
        np.testing.assert_array_equal(product(format, ours, values), product(exact, plain, values))
    ids = np.array([0, 39, 17], np.int32)
    out = np.full((3, COLUMNS), np.nan, np.float32)
    run(format.embedding_kernel(), 3, ours.ctypes.data, format.block_bytes(COLUMNS), COLUMNS, COLUMNS,
        out.ctypes.data, out.strides[0], STEP_TOKEN_IDS, ROWS, fields={STEP_TOKEN_IDS: ids.ctypes.data})  # fmt: skip
    np.testing.assert_array_equal(out, floats[ids])
