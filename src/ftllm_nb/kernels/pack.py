"""From a checkpoint's rows to blocks of 16: the kernel that packs float weights, converting their type."""

from __future__ import annotations

import functools

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import FLOAT16, WEIGHT_BYTES, load_weight, store_weight
from ftllm_nb.kernels.memory import store_i64
from ftllm_nb.kernels.step import argument, take_chunk

PACK_SOURCE, PACK_TARGET, PACK_ROWS, PACK_COLUMNS, PACK_FAULT = range(5)
"""Arguments of a row: source [rows, columns]; target, blocks of 16 rows; the address of an int64 that kernels set to
1 where they meet a weight that the format cannot hold."""

_COLUMNS_AT_ONCE = 64
_FLOAT16_LIMIT = 65520.0
"""What is not below this becomes infinite as float16."""


@functools.cache
def pack_kernel(source_kind: int, target_kind: int) -> Kernel:
    """Pack a row-major matrix into blocks of 16 rows, `[rows/16][columns][16]`; rows that are missing are zero.

    A chunk is a block, so that the worker that will read a block in a matmul is the first to touch its memory.
    Narrowing rounds to nearest even; the fault word is set where a wider type's number is none in float16.
    """
    source_bytes, target_bytes = WEIGHT_BYTES[source_kind], WEIGHT_BYTES[target_kind]
    may_overflow = target_kind == FLOAT16 and source_kind != FLOAT16

    @kernel(variant=f"{source_kind}_{target_kind}")
    def pack(row, step, worker):
        source, target = argument(row, PACK_SOURCE), argument(row, PACK_TARGET)
        rows, columns = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS)
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            base = target + block * columns * 16 * target_bytes
            present = min(16, rows - block * 16)
            for first in range(0, columns, _COLUMNS_AT_ONCE):
                last = min(first + _COLUMNS_AT_ONCE, columns)
                for lane in range(16):
                    place = base + (first * 16 + lane) * target_bytes
                    if lane < present:
                        at = source + ((block * 16 + lane) * columns + first) * source_bytes
                        for _ in range(last - first):
                            weight = load_weight(at, source_kind)
                            if may_overflow and not abs(weight) < _FLOAT16_LIMIT:
                                store_i64(argument(row, PACK_FAULT), 1)
                            store_weight(place, weight, target_kind)
                            at += source_bytes
                            place += 16 * target_bytes
                    else:
                        for _ in range(last - first):
                            store_weight(place, 0.0, target_kind)
                            place += 16 * target_bytes
            block = take_chunk(worker, num_blocks)

    return pack
