"""Matrices as blocks of ggml's types: by a search, or by a method that looks at what they are multiplied by.

A type's own search finds the scales and minimums, with columns that count as the method says. Then one that needs
inputs' products rounds to what those stand for, and fits the scales of types that have nothing else once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.errors import StepStopped
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.round_feedback import feedback_kernel
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS
from ftllm_nb.quant.base import BLOCK_ROWS
from ftllm_nb.quant.blocks import BlockFormat
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.block_types.base import Bytes, Floats, WrittenType
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.grids import Fitter, Grid, Lines
from ftllm_nb.quantization.methods import UNCALIBRATED, method_module
from ftllm_nb.quantization.mixable import Rounder
from ftllm_nb.quantized_type import BlockedType

SCRATCH = 1 << 12
"""Private memory of a worker that `Encoder` needs."""
_WEIGHTS_AT_ONCE = 1 << 18


def written_type(type: BlockedType) -> WrittenType:
    """How a block type is written."""
    return written_types()[type.name.lower()]


def fitting_kernels(types: Iterable[WrittenType]) -> list[Kernel]:
    """Those that `Encoder` runs for these types."""
    found = [kernel for type in types for kernel in type.kernels(UNCALIBRATED)]
    return [feedback_kernel(), *found] if found else []


class Encoder:
    """Encodes matrices by a method that is calibrated."""

    def __init__(self, method: str, pool: ThreadPool, workers: ThreadPoolExecutor) -> None:
        self._method, self._pool, self._workers = method_module(method), pool, workers

    def encode(self, type: WrittenType, rows: Floats, moments: Moments) -> Bytes:
        """The bytes [rows, bytes of a row]; raises `ValueError` as `WrittenType.encode` does."""
        columns = rows.shape[1]
        encoded = searched(type, rows, UNCALIBRATED, self._workers, self._method.importance(moments))
        if not self._method.NEEDS_PRODUCTS or type.with_places is None:
            return encoded
        fitter = Fitter(Grid(type.levels, type.group), self._pool)
        rounds = self._method.ROUNDS if type.has_plain_scales else 1
        best: tuple[Bytes, Floats] | None = None
        for _ in range(rounds):
            places = self._method.rounded(rows, moments, fitter, lines_of(type, encoded, columns))
            encoded = with_places_of(type, encoded, places)
            if type.has_plain_scales:
                encoded = self._refitted(type, encoded, places, rows, moments)
            if rounds > 1:
                off = rows - dequantize(type.name, encoded).reshape(rows.shape)
                made = encoded, self._method.row_errors(off, moments)[:, None]
                best = made if best is None else self._method.better_rows(made, best)
                encoded = best[0]
        return encoded

    def _refitted(
        self, type: WrittenType, encoded: Bytes, places: NDArray[np.uint8], rows: Floats, moments: Moments
    ) -> Bytes:
        """The same numbers with the scales that fit them best."""
        blocks = encoded.reshape(len(rows), -1, type.nbytes)
        scales = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0]
        units = np.array(type.levels, np.float32)[places]
        found = self._method.refitted(rows, moments, units, scales).astype("<f2")
        return np.concatenate([found[..., None].view(np.uint8), blocks[..., 2:]], axis=-1).reshape(encoded.shape)


class BlockRounder(Rounder):
    """Rounds to block types, on all threads of a pool."""

    def __init__(self, pool: ThreadPool) -> None:
        self._pool, self._workers = pool, ThreadPoolExecutor(pool.num_workers, "ftllm-nb quantizer")

    def rounded(self, dtype: str, weights: Floats, moments: Moments, method: str) -> Floats:
        type = written_types()[dtype]
        encoded = Encoder(method, self._pool, self._workers).encode(type, weights, moments)
        return dequantize(type.name, encoded).reshape(weights.shape)

    def close(self) -> None:
        """End the threads that are its own."""
        self._workers.shutdown()


def searched(
    type: WrittenType, rows: Floats, method: str, workers: ThreadPoolExecutor, importance: Floats | None = None
) -> Bytes:
    """The bytes [rows, bytes of a row], some rows at a time on all threads; see `WrittenType.encode`."""
    at_once = max(1, _WEIGHTS_AT_ONCE // rows.shape[1])
    pieces = [rows[first : first + at_once] for first in range(0, len(rows), at_once)]
    return np.concatenate(list(workers.map(lambda piece: type.encode(piece, method, importance), pieces)))


def laid(type: BlockedType, encoded: Bytes, columns: int, pool: ThreadPool) -> Bytes:
    """Rows of blocks as they lie in memory, uint8 [blocks of 16 rows, bytes]."""
    format, rows = BlockFormat(type.name), len(encoded)
    made = np.empty((-(-rows // BLOCK_ROWS), format.block_bytes(columns)), np.uint8)
    fault, table = np.zeros(1, np.int64), np.zeros((1, ROW_FIELDS), np.int64)
    encoded = np.ascontiguousarray(encoded)
    kernel = format.pack_kernel(type)
    table[0, :6] = (kernel.address, encoded.ctypes.data, made.ctypes.data, rows, columns, fault.ctypes.data)
    if not pool.run(table, np.zeros(STEP_FIELDS, np.int64)):
        raise StepStopped
    return made


def lines_of(type: WrittenType, encoded: Bytes, columns: int) -> Lines:
    """What levels stand for in encoded rows: seen where all numbers are the lowest, and the one after it."""
    values = [
        dequantize(type.name, with_places_of(type, encoded, np.full((len(encoded), columns), place, np.uint8)))
        for place in (0, 1)
    ]
    lowest, next_one = (each.reshape(len(encoded), -1, type.group)[..., 0] for each in values)
    steps = (next_one - lowest) / np.float32(type.levels[1] - type.levels[0])
    return Lines(np.ascontiguousarray(steps), np.ascontiguousarray(lowest - steps * np.float32(type.levels[0])))


def with_places_of(type: WrittenType, encoded: Bytes, places: NDArray[np.uint8]) -> Bytes:
    assert type.with_places is not None
    blocks = type.with_places(encoded.reshape(-1, type.nbytes), places.reshape(-1, type.columns))
    return np.ascontiguousarray(blocks).reshape(len(encoded), -1)
