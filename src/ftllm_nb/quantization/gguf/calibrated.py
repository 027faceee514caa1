"""Tensors of a GGUF file whose method looks at a calibration text: a layer's at a time, each whole in memory.

A type's own search finds the scales and minimums, with columns that count as the method says. Then one that needs
inputs' products rounds to what they stand for, and fits the scales of types that have nothing else once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.block_types.base import Bytes, Floats, WrittenType
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.walk import capture
from ftllm_nb.quantization.gguf.imatrix_file import moments_of
from ftllm_nb.quantization.grids import Fitter, Grid, Lines
from ftllm_nb.quantization.methods import UNCALIBRATED, method_module
from ftllm_nb.quantization.mixed import Rounder

if TYPE_CHECKING:
    from ftllm_nb.quantization.gguf.job import GgufJob, PlannedFileTensor

_SCRATCH = 1 << 12
_WEIGHTS_AT_ONCE = 1 << 18


def calibrated_tensors(
    job: GgufJob, done: set[str], progress: Callable[[int, int], None]
) -> Iterator[tuple[PlannedFileTensor, dict[str, Moments]]]:
    """The tensors of `job.calibrated` that are not done, and what the model's tensors that they are made of are
    multiplied by, as the text makes it, or as a file says."""
    waiting = {tensor.name: tensor for tensor in job.calibrated if tensor.name not in done}
    if not waiting:
        return
    if job.importance:
        for name, tensor in waiting.items():
            moments = moments_of(job.importance[name])
            yield tensor, {part.weight.tensor: moments for part in tensor.parts}
        return
    names = {part.weight.tensor for tensor in waiting.values() for part in tensor.parts}
    products, found = method_module(job.method).NEEDS_PRODUCTS, dict[str, Moments]()
    for captured in capture(job.graph, job.checkpoint, job.windows, names, products=products, progress=progress):
        found |= captured
        ready = [
            tensor for tensor in waiting.values() if all(part.weight.tensor in found for part in tensor.parts)
        ]
        for tensor in ready:
            yield tensor, {part.weight.tensor: found[part.weight.tensor] for part in tensor.parts}
            del waiting[tensor.name]
        kept = {part.weight.tensor for tensor in waiting.values() for part in tensor.parts}
        found = {name: moments for name, moments in found.items() if name in kept}


class Encoder:
    """Encodes matrices by a method that is calibrated."""

    def __init__(self, method: str, threads: int, workers: ThreadPoolExecutor) -> None:
        self._method = method_module(method)
        self._workers, self._pool = workers, ThreadPool(threads, _SCRATCH)

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def encode(self, type: WrittenType, rows: Floats, moments: Moments) -> Bytes:
        """The bytes [rows, bytes of a row]; raises `ValueError` as `WrittenType.encode` does."""
        columns, importance = rows.shape[1], self._method.importance(moments)
        at_once = max(1, _WEIGHTS_AT_ONCE // columns)
        pieces = [rows[first : first + at_once] for first in range(0, len(rows), at_once)]
        encoded = np.concatenate(
            list(self._workers.map(lambda piece: type.encode(piece, UNCALIBRATED, importance), pieces))
        )
        if not self._method.NEEDS_PRODUCTS or type.with_places is None:
            return encoded
        fitter = Fitter(Grid(type.levels, type.group), self._pool)
        rounds = self._method.ROUNDS if type.has_plain_scales else 1
        best: tuple[Bytes, Floats] | None = None
        for _ in range(rounds):
            places = self._method.rounded(rows, moments, fitter, lines_of(type, encoded, columns))
            encoded = _with_places(type, encoded, places)
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
    """Rounds to block types."""

    def __init__(self, threads: int) -> None:
        self._workers, self._threads = ThreadPoolExecutor(threads, "ftllm-nb quantizer"), threads
        self._encoders: dict[str, Encoder] = {}

    def rounded(self, dtype: str, weights: Floats, moments: Moments, method: str) -> Floats:
        type = written_types()[dtype]
        if method not in self._encoders:
            self._encoders[method] = Encoder(method, self._threads, self._workers)
        return dequantize(type.name, self._encoders[method].encode(type, weights, moments)).reshape(weights.shape)

    def close(self) -> None:
        """End the threads."""
        for encoder in self._encoders.values():
            encoder.close()
        self._workers.shutdown()


def lines_of(type: WrittenType, encoded: Bytes, columns: int) -> Lines:
    """What levels stand for in encoded rows: seen where all numbers are the lowest, and the one after it."""
    values = [
        dequantize(type.name, _with_places(type, encoded, np.full((len(encoded), columns), place, np.uint8)))
        for place in (0, 1)
    ]
    lowest, next_one = (each.reshape(len(encoded), -1, type.group)[..., 0] for each in values)
    steps = (next_one - lowest) / np.float32(type.levels[1] - type.levels[0])
    return Lines(np.ascontiguousarray(steps), np.ascontiguousarray(lowest - steps * np.float32(type.levels[0])))


def _with_places(type: WrittenType, encoded: Bytes, places: NDArray[np.uint8]) -> Bytes:
    assert type.with_places is not None
    blocks = type.with_places(encoded.reshape(-1, type.nbytes), places.reshape(-1, type.columns))
    return np.ascontiguousarray(blocks).reshape(len(encoded), -1)
