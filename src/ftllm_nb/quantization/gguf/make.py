"""Making a GGUF file: tensor by tensor, some rows at a time on all threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.compressed_tensors.packing import unpack
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.kernels.compile import prepare
from ftllm_nb.kernels.round_feedback import feedback_kernel
from ftllm_nb.quantization.block_fitting import SCRATCH, Encoder
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.block_types.base import packed
from ftllm_nb.quantization.gguf.calibrated import calibrated_tensors
from ftllm_nb.quantization.gguf.job import GgufJob, Part, PlannedFileTensor
from ftllm_nb.quantization.gguf.relaid import RelaidCheckpoint
from ftllm_nb.quantization.methods import UNCALIBRATED, is_calibrated
from ftllm_nb.quantization.options import Progress
from ftllm_nb.quantization.partial import PartialFolder
from ftllm_nb.quantization.place import check_file_place, check_room
from ftllm_nb.quantization.rows import STORED_FLOATS, as_float32, not_quantizable, too_small
from ftllm_nb.quantization.run import read_stored, written
from ftllm_nb.quantized_type import QuantizedType

Floats = NDArray[np.float32]
_WEIGHTS_AT_ONCE = 1 << 18
"""Of a thread."""
_ROWS_MULTIPLE = 8
"""Checksums are of words of so many bytes (checkpoint/checksum.py)."""


class GgufFileJob(GgufJob):
    """A file of a model that can be made."""

    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""
        check_file_place(out, self.checkpoint.path, replace)

    def write(self, out: Path, threads: int, *, resume: bool, replace: bool, progress: Progress | None = None) -> None:
        """Make the file; what stays where that fails is as `FolderJob.write` of quantization/run.py says."""
        self.check_place(out, replace)
        folder = PartialFolder(out, self.layout, self.identity())
        check_room(folder.path, self.needed_bytes)
        method = UNCALIBRATED if is_calibrated(self.method) else self.method
        made = {tensor.dtype for tensor in self.tensors if not tensor.is_kept}
        kernels = [kernel for dtype in sorted(made) for kernel in written_types()[dtype].kernels(method)]
        if self.calibrated:
            kernels.append(feedback_kernel())
        prepare(kernels, progress)

        def make_tensors() -> dict[str, bytes]:
            for name, values in self.contents.items():
                folder.write(name, 0, values)
            with ThreadPoolExecutor(threads, "ftllm-nb quantizer") as workers:
                try:
                    _make_tensors(self, folder, method, workers, threads, progress)
                    _make_calibrated(self, folder, workers, threads, progress)
                except BaseException:
                    workers.shutdown(wait=False, cancel_futures=True)
                    raise
            return {}

        written(folder, make_tensors, resume=resume, replace=replace)


def _make_tensors(
    job: GgufJob,
    folder: PartialFolder,
    method: str,
    workers: ThreadPoolExecutor,
    threads: int,
    progress: Progress | None,
) -> None:
    tensors = [tensor for tensor in job.tensors if tensor not in job.calibrated]
    done, total = 0, sum(tensor.weights for tensor in tensors)
    for tensor in tensors:
        if tensor.name in folder.done:
            done += tensor.weights
            continue
        if progress is not None:
            progress("quantize", 2 * done, 2 * total)
        if tensor.is_kept:
            _keep(job.checkpoint, tensor, folder)
            done += tensor.weights
            continue
        type = written_types()[tensor.dtype]
        holds_numbers, is_precise, offset = False, False, 0

        def encode(rows: Floats) -> tuple[NDArray[np.uint8], bool]:
            return type.encode(rows, method), bool(rows.any())  # noqa: B023  (used within this turn)

        for pieces in _batches(_pieces(job.checkpoint, tensor, folder), threads):
            try:
                made = list(workers.map(encode, pieces))
            except ValueError as error:
                name = tensor.parts[0].weight.tensor
                raise not_quantizable(name, error, may_stay=tensor.dtype != "f32") from None
            for encoded, holds in made:
                holds_numbers = holds_numbers or holds
                is_precise = is_precise or type.has_room(encoded)
                folder.write(tensor.name, offset, encoded)
                offset += encoded.nbytes
            done += sum(piece.size for piece in pieces)
            if progress is not None:
                progress("quantize", 2 * done, 2 * total)
        if holds_numbers and not is_precise:
            raise too_small(tensor.parts[0].weight.tensor, tensor.dtype)
        folder.finish(tensor.name, {tensor.name: tensor.nbytes})


def _keep(checkpoint: Checkpoint, tensor: PlannedFileTensor, folder: PartialFolder) -> None:
    """Write a tensor as the model's file has its bytes."""
    offset = 0
    for part in sorted(tensor.parts, key=_first_row):
        for holder, stored in _stored_parts(checkpoint, part.weight.tensor):
            rows = _in_order(_stored_blocks(holder, stored), part)
            at_once = max(1, _WEIGHTS_AT_ONCE // rows.shape[1] // _ROWS_MULTIPLE) * _ROWS_MULTIPLE
            for first in range(0, len(rows), at_once):
                content = np.ascontiguousarray(rows[first : first + at_once])
                folder.write(tensor.name, offset, content)
                offset += content.nbytes
            holder.release(stored)
    folder.finish(tensor.name, {tensor.name: tensor.nbytes})


def _stored_parts(checkpoint: Checkpoint, name: str) -> list[tuple[Checkpoint, str]]:
    """The tensors, one after the other, that a quantized one is, and who holds them: experts may lie one by one."""
    if isinstance(checkpoint, RelaidCheckpoint) and (parts := checkpoint.parts(name)) is not None:
        return [(checkpoint.stored, each) for each in parts]
    return [(checkpoint, name)]


def _stored_blocks(checkpoint: Checkpoint, name: str) -> NDArray[np.uint8]:
    """The bytes of a quantized matrix, uint8 [rows, bytes of a row]: those of a GGUF file, or numbers of 4 or 8 bits
    with
    a float16 scale for 32 columns as Q4_0 or Q8_0."""
    info = checkpoint.tensors[name]
    if info.stored:
        return checkpoint.read_blocks(name)
    assert isinstance(info.dtype, QuantizedType)
    stored, (rows, columns) = checkpoint.read_integers(name), info.shape
    numbers = stored.numbers
    if numbers.dtype == np.int32:
        numbers = unpack(numbers, info.dtype.bits, columns)
    blocks = np.ascontiguousarray(numbers, np.int8).reshape(-1, 32).view(np.uint8)
    if info.dtype.bits == 4:
        blocks = packed((blocks + np.uint8(8)) & np.uint8(15), 4, 16)
    scales = np.ascontiguousarray(stored.scales, "<f2").reshape(-1, 1).view(np.uint8)
    return np.concatenate([scales, blocks], axis=-1).reshape(rows, -1)


def _make_calibrated(
    job: GgufJob, folder: PartialFolder, workers: ThreadPoolExecutor, threads: int, progress: Progress | None
) -> None:
    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("calibrate", done, total)

    pool = ThreadPool(threads, SCRATCH)
    encoder = Encoder(job.method, pool, workers)
    try:
        for tensor, moments in calibrated_tensors(job, folder.done, report):
            type, offset = written_types()[tensor.dtype], 0
            for part in sorted(tensor.parts, key=_first_row):
                name = part.weight.tensor
                rows = as_float32(_matrix(job.checkpoint, part, tensor.shape[-1], folder))
                try:
                    encoded = encoder.encode(type, rows, moments[name])
                except ValueError as error:
                    raise not_quantizable(name, error) from None
                if rows.any() and not type.has_room(encoded):
                    raise too_small(name, tensor.dtype)
                folder.write(tensor.name, offset, encoded)
                offset += encoded.nbytes
                job.checkpoint.release(name)
            folder.finish(tensor.name, {tensor.name: tensor.nbytes})
    finally:
        pool.close()


def _batches(pieces: Iterator[Floats], count: int) -> Iterator[list[Floats]]:
    """Several pieces at a time, so that few are in memory."""
    batch: list[Floats] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == 2 * count:
            yield batch
            batch = []
    if batch:
        yield batch


def _pieces(checkpoint: Checkpoint, tensor: PlannedFileTensor, folder: PartialFolder) -> Iterator[Floats]:
    """The rows of a tensor of the file, in order, float32 [rows, columns]; a vector is one row."""
    columns = tensor.shape[-1]
    at_once = max(_ROWS_MULTIPLE, _WEIGHTS_AT_ONCE // columns // _ROWS_MULTIPLE * _ROWS_MULTIPLE)
    for part in sorted(tensor.parts, key=_first_row):
        for rows in _matrices(checkpoint, part, columns, folder):
            for first in range(0, len(rows), at_once):
                yield part.source.written(as_float32(rows[first : first + at_once]))
        checkpoint.release(part.weight.tensor)


def _first_row(part: Part) -> int:
    rows = part.source.rows
    return rows.start if isinstance(rows, slice) else 0


def _matrices(checkpoint: Checkpoint, part: Part, columns: int, folder: PartialFolder) -> Iterator[NDArray[Any]]:
    """A tensor of the model as the file has its rows, in one piece, or a stack of experts piece by piece."""
    if isinstance(checkpoint, RelaidCheckpoint) and part.source.rows is None and not part.weight.turned:
        if checkpoint.parts(part.weight.tensor) != [part.weight.tensor]:
            for piece in checkpoint.pieces(part.weight.tensor):
                yield np.ascontiguousarray(piece).reshape(-1, columns)
            return
    yield _matrix(checkpoint, part, columns, folder)


def _matrix(checkpoint: Checkpoint, part: Part, columns: int, folder: PartialFolder) -> NDArray[Any]:
    """A tensor of the model as the file has its rows, in the type in which the model has it."""
    info = checkpoint.tensors[part.weight.tensor]
    if info.dtype in STORED_FLOATS and not info.stored:
        stored = np.empty(info.shape, STORED_FLOATS[str(info.dtype)])
        read_stored(checkpoint, info.name, 0, stored.reshape(-1).view(np.uint8), folder)
    else:
        stored = checkpoint.read(info.name)
    rows = _in_order(stored.T if part.weight.turned else stored, part)
    return np.ascontiguousarray(rows).reshape(-1, columns)


def _in_order(rows: NDArray[Any], part: Part) -> NDArray[Any]:
    """The rows of a tensor of the model as the file has them."""
    order = part.source.rows
    if not isinstance(order, np.ndarray):
        return rows
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return rows[back]
