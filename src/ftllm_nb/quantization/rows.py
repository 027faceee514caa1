"""Rows of a matrix as whole numbers: a method's kernel on all threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from ftllm_nb.checkpoint.compressed_tensors import PACK_QUANTIZED, WeightScheme
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.errors import CheckpointError, StepStopped
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.quantize_rows import number_bytes, padded_columns
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS
from ftllm_nb.quant.floats import SOURCE_KINDS
from ftllm_nb.quantization.methods import method_module
from ftllm_nb.quantized_type import ElementType

STORED_FLOATS = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
"""Arrays of floats as files have them; bfloat16 as its bits."""
LEFT_ALONE = 'leave it as it is by a rule of --dtype_config, "dtype": "auto"'


@dataclass(frozen=True)
class QuantizedRows:
    """Some rows of a matrix. `numbers`: uint8 [rows, bytes], packed words or signed bytes as the scheme's layout says.

    `scales`: float16 [rows, groups]. `zero_points`: uint8 [rows, groups], half the range added; None if symmetric.
    """

    numbers: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zero_points: NDArray[np.uint8] | None


def as_float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Such an array as float32."""
    return bfloat16_as_float32(rows) if rows.dtype == np.uint16 else rows.astype(np.float32)


def rows_kernel(method: str) -> Kernel:
    """The kernel of a method, for matrices of all types."""
    kernel: Kernel = method_module(method).rows_kernel
    return kernel


def quantize_rows(
    kernel: Kernel, source: NDArray[Any], dtype: ElementType, scheme: WeightScheme, pool: ThreadPool
) -> QuantizedRows:
    """Quantize rows [count, columns] of float32, float16 or bfloat16, which `dtype` says, C-contiguous.

    Raises `ValueError`, "holds …", where a number is not finite or too large; `StepStopped` when stopped.
    """
    count, columns = source.shape
    padded = padded_columns(columns, scheme.group)
    groups = padded // (scheme.group or padded)
    numbers = np.empty((count, number_bytes(columns, scheme.bits, scheme.layout == PACK_QUANTIZED)), np.uint8)
    scales = np.empty((count, groups), np.float16)
    zero_points = None if scheme.symmetric else np.empty((count, groups), np.uint8)
    fault = np.zeros(1, np.int64)
    addresses = (numbers.ctypes.data, scales.ctypes.data, 0 if zero_points is None else zero_points.ctypes.data)
    kinds = scheme.bits, scheme.group, scheme.symmetric, scheme.layout == PACK_QUANTIZED, scheme.spread
    row = np.zeros((1, ROW_FIELDS), np.int64)
    row[0, :14] = (kernel.address, source.ctypes.data, SOURCE_KINDS[dtype], *addresses, count, columns,
                   fault.ctypes.data, *kinds)  # fmt: skip
    if not pool.run(row, np.zeros(STEP_FIELDS, np.int64)):
        raise StepStopped
    if fault[0]:
        raise ValueError(f"holds numbers that are not finite, or too large for {scheme.name}")
    return QuantizedRows(numbers, scales, zero_points)


def not_quantizable(name: str, error: ValueError, may_stay: bool = True) -> CheckpointError:
    """The sentence on a tensor of which a `ValueError` says what it holds. `may_stay`: whether another type of it may
    be asked for."""
    return CheckpointError(f'the tensor "{name}" {error}: its file is damaged{f", or {LEFT_ALONE}" * may_stay}.')


def too_small(name: str, dtype: str) -> CheckpointError:
    """The sentence on a tensor whose scales float16 cannot tell from 0."""
    return CheckpointError(
        f'the tensor "{name}" holds numbers too small for {dtype}, whose scales are float16: {LEFT_ALONE}.'
    )
