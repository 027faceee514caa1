"""Matrices in ggml's types whose blocks no kernel packs as they lie: converted on all threads, some rows at a time.

NumPy lets other threads run while it computes. Only so many rows are in memory beside the packed matrix as are
converted at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import block_types, dequantize
from ftllm_nb.checkpoint.gguf.integers import INTEGER_TYPES, stored_integers
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.errors import StepStopped
from ftllm_nb.graph.weight_memory import WeightPart
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS
from ftllm_nb.quant.base import BLOCK_ROWS
from ftllm_nb.quant.blocks import BlockFormat
from ftllm_nb.quant.stored import StoredFormat

Bytes = NDArray[np.uint8]
Sources = tuple[list[NDArray[Any]], list[int]]
"""What the kernel that packs a matrix reads: arrays, and numbers that follow their addresses in its row."""
_NUMBERS_AT_ONCE = 1 << 21


def conversion(part: WeightPart, kind: str) -> Callable[[Bytes], Sources] | None:
    """What makes of rows of the type `kind`, ggml's name, what the part's kernel packs; None where it packs the rows
    themselves, and where `kind` is none of ggml's types of blocks."""
    if part.weight.computed is not None or kind not in block_types() or block_types()[kind].columns == 1:
        return None
    if isinstance(part.format, BlockFormat):
        return partial(_in_blocks, part.format) if part.format.converts else None
    if isinstance(part.format, StoredFormat):
        return partial(_integers, kind) if kind in INTEGER_TYPES else None
    return partial(_floats, kind)


def _in_blocks(format: BlockFormat, raw: Bytes) -> Sources:
    return [format.source(raw)], []


def _integers(kind: str, raw: Bytes) -> Sources:
    stored = stored_integers(kind, raw)
    return [np.ascontiguousarray(stored.numbers), stored.scales, np.empty(0, np.uint8)], [1]


def _floats(kind: str, raw: Bytes) -> Sources:
    return [dequantize(kind, raw)], []


def pack_converted(
    part: WeightPart, kernel: int, raw: Bytes, convert: Callable[[Bytes], Sources], pool: ThreadPool
) -> int:
    """Pack a matrix, or a stack of them, from `raw`, uint8 [rows of all, bytes of a row]; the kernel's fault word."""
    count, rows, columns = part.weight.type.matrices
    block_bytes, packed_bytes = part.format.block_bytes(columns), part.format.packed_bytes(rows, columns)
    at_once = max(1, _NUMBERS_AT_ONCE // columns // BLOCK_ROWS) * BLOCK_ROWS
    pieces = [
        (matrix, first, min(first + at_once, rows)) for matrix in range(count) for first in range(0, rows, at_once)
    ]
    fault = np.zeros(1, np.int64)
    with ThreadPoolExecutor(pool.num_workers) as threads:
        for begin in range(0, len(pieces), pool.num_workers):
            some = pieces[begin : begin + pool.num_workers]
            parts = [raw[matrix * rows + first : matrix * rows + last] for matrix, first, last in some]
            converted = list(threads.map(convert, parts))
            table = np.zeros((len(some), ROW_FIELDS), np.int64)
            for row, (matrix, first, last), (arrays, numbers) in zip(table, some, converted, strict=True):
                source, *others = (array.ctypes.data for array in arrays)
                target = part.address + matrix * packed_bytes + first // BLOCK_ROWS * block_bytes
                fields = (kernel, source, target, last - first, columns, fault.ctypes.data, *others, *numbers)
                row[: len(fields)] = fields
            if not pool.run(table, np.zeros(STEP_FIELDS, np.int64)):
                raise StepStopped
    return int(fault[0])
