"""The kernels of integer formats, run on what tests lay out."""

from __future__ import annotations

import numpy as np

from ftllm_nb.kernels.quantize import quantize
from ftllm_nb.kernels.step import STEP_TOKEN_IDS, STEP_TOKENS
from ftllm_nb.quant.blocks import BlockFormat
from ftllm_nb.quant.integers import IntegerLayout
from tests.kernels.kernel_runs import run


def quantized(format: IntegerLayout | BlockFormat, x: np.ndarray) -> np.ndarray:
    """Rows of quantized activations, by the kernel, with room after them as buffers have it."""
    features = x.shape[1]
    columns = format.padded_columns(features)
    row_bytes = -(-format.activations.row_bytes(features) // 64) * 64
    out = np.zeros((len(x), row_bytes), np.uint8)
    form = format.activations
    run(quantize, len(x), x.ctypes.data, 4 * features, x.ctypes.data, 4 * features, out.ctypes.data, row_bytes,
        features, columns, form.group_columns(features), form.code, STEP_TOKENS)  # fmt: skip
    return out


def packed_product(
    format: IntegerLayout | BlockFormat, x: np.ndarray, packed: np.ndarray, rows: int, bias: np.ndarray
) -> np.ndarray:
    """x · wᵀ + bias for a packed matrix of so many rows."""
    columns, blocks, values = x.shape[1], -(-rows // 16), quantized(format, x)
    padded_bias = np.zeros(16 * blocks, np.float32)
    padded_bias[:rows] = bias
    out = np.full((len(x), 16 * blocks), np.nan, np.float32)
    run(format.linear_kernel(), len(x), values.ctypes.data, values.shape[1], format.padded_columns(columns),
        packed.ctypes.data, format.block_bytes(columns), blocks, padded_bias.ctypes.data, out.ctypes.data,
        64 * blocks, STEP_TOKENS)  # fmt: skip
    assert (out[:, rows:] == 0).all(), "rows of padding give zeros"
    return out[:, :rows]


def looked_up(format: IntegerLayout | BlockFormat, packed: np.ndarray, ids: np.ndarray, columns: int) -> np.ndarray:
    """The rows with these ids, int32, of a packed matrix."""
    out = np.full((len(ids), columns), np.nan, np.float32)
    run(format.embedding_kernel(), len(ids), packed.ctypes.data, format.block_bytes(columns),
        format.padded_columns(columns), columns, out.ctypes.data, 4 * columns, STEP_TOKEN_IDS, 1 << 30,
        fields={STEP_TOKEN_IDS: ids.ctypes.data})  # fmt: skip
    return out
