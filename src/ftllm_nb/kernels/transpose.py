"""A matrix with its axes exchanged: weights that a checkpoint stores as [in, out], before they are packed."""

from __future__ import annotations

import functools

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.memory import copy_bytes
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.step import argument, take_chunk

TRANSPOSE = row_fields("source", "target", "rows", "columns")
"""Arguments of the rows: `rows` and `columns` are the source's."""
_ROWS_AT_ONCE = 32
"""Rows of the target of a chunk: so many cache lines are written side by side."""


@functools.cache
def transpose_kernel(element: int) -> Kernel:
    """target[j, i] = source[i, j], of elements of 2 or 4 bytes, both C-contiguous."""

    @kernel(variant=f"{element}")
    def transpose(row, step, worker):
        source, target = argument(row, TRANSPOSE.source), argument(row, TRANSPOSE.target)
        rows, columns = argument(row, TRANSPOSE.rows), argument(row, TRANSPOSE.columns)
        num_chunks = (columns + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first = chunk * _ROWS_AT_ONCE
            count = min(_ROWS_AT_ONCE, columns - first)
            for i in range(rows):
                read = source + (i * columns + first) * element
                written = target + (first * rows + i) * element
                for j in range(count):
                    copy_bytes(written + j * rows * element, read + j * element, element)
            chunk = take_chunk(worker, num_chunks)

    return transpose
