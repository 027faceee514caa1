"""Making a quantized copy of a model: tensor by tensor, some rows at a time, so that memory holds little of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine.weight_loading import pack_matrix
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.ir import Value
from ftllm_nb.graph.weight_memory import WeightPart
from ftllm_nb.kernels.compile import Kernel, prepare
from ftllm_nb.kernels.quantize_rows import scratch_bytes
from ftllm_nb.memory import aligned_bytes
from ftllm_nb.quant.base import WeightFormat
from ftllm_nb.quant.integers import has_room, is_zero
from ftllm_nb.quantization.block_fitting import SCRATCH, laid, searched, written_type
from ftllm_nb.quantization.calibrated import make_calibrated
from ftllm_nb.quantization.job import QuantizeJob
from ftllm_nb.quantization.options import Progress
from ftllm_nb.quantization.partial import PartialFolder
from ftllm_nb.quantization.place import check_place, check_room
from ftllm_nb.quantization.rows import (
    STORED_FLOATS,
    QuantizedRows,
    as_float32,
    not_quantizable,
    quantize_rows,
    too_small,
)
from ftllm_nb.quantization.table import type_name
from ftllm_nb.quantization.tensors import PlannedTensor
from ftllm_nb.quantized_type import BlockedType

BYTES_AT_ONCE = 16 << 20
"""Stored bytes of the rows that are in memory."""
ROWS_MULTIPLE = 16
"""Rows that are made at once are a multiple of this, but at a tensor's end: words and blocks are whole."""
_EXPONENTS = {"float32": ("<u4", 0x7F800000), "float16": ("<u2", 0x7C00), "bfloat16": ("<u2", 0x7F80)}
"""The bits that are all set where a float is no finite number."""


class KeptError(CheckpointError):
    """The model cannot be read any further; OUT.partial keeps what was done."""


class FolderJob(QuantizeJob):
    """A folder of a model that can be made."""

    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""
        check_place(out, self.checkpoint.path, replace)

    def write(self, out: Path, threads: int, *, resume: bool, replace: bool, progress: Progress | None = None) -> None:
        """Make the folder `out`; `progress` is told ("quantize", stored bytes done, all).

        Where Ctrl-C, a kill or a disk that cannot be read stops it, OUT.partial stays, with which `resume` goes on; any
        other error deletes that as well.
        """
        self.check_place(out, replace)
        folder = PartialFolder(out, self.layout, self.identity())
        check_room(folder.path, self.needed_bytes)
        kernels = self.kernels()
        prepare([*kernels.values(), *self.other_kernels()], progress)
        sizes = (scratch_bytes(tensor.shape[1], tensor.scheme.group) for tensor in kernels if tensor.scheme)
        scratch = max((SCRATCH, *sizes))
        pool = ThreadPool(threads, scratch)

        def make() -> dict[str, bytes]:
            folder.copy(self.copies)
            _make_tensors(self, folder, kernels, pool, progress)
            make_calibrated(self, folder, pool, progress)
            return self.texts(folder.sums)

        try:
            written(folder, make, resume=resume, replace=replace)
        finally:
            pool.close()


def written(folder: PartialFolder, make: Callable[[], Mapping[str, bytes]], *, resume: bool, replace: bool) -> None:
    """Complete a folder with what `make` writes into it and the texts that it returns; what stays where that fails is
    as `FolderJob.write` says."""
    try:
        folder.open(resume)
        try:
            folder.complete(make(), replace)
        except (KeyboardInterrupt, KeptError):
            if not folder.done:
                folder.discard()
            raise
        except BaseException:
            folder.discard()
            raise
    finally:
        folder.close()


def _make_tensors(
    job: QuantizeJob,
    folder: PartialFolder,
    kernels: Mapping[PlannedTensor, Kernel],
    pool: ThreadPool,
    progress: Progress | None,
) -> None:
    tensors = [tensor for tensor in job.tensors if tensor not in job.calibrated]
    done, total, kept = 0, sum(tensor.nbytes for tensor in tensors), job.kept_matrices()
    buffer = np.empty(0, np.uint8)
    for tensor in tensors:
        if tensor.name in folder.done:
            done += tensor.nbytes
            continue
        if progress is not None:
            progress("quantize", done, total)
        if tensor.kept is not None:
            value, format = kept[tensor.name]
            _keep(tensor, value, format, job, folder, pool)
            done += tensor.nbytes
            continue
        holds_numbers, is_precise = False, False
        whole = _whole(job.checkpoint, tensor, folder) if tensor.turned else None
        for first, count, row_bytes in _runs(tensor):
            if buffer.size < count * row_bytes:
                buffer = np.empty(count * row_bytes, np.uint8)
            stored = buffer[: count * row_bytes].reshape(count, row_bytes)
            if whole is None:
                read_stored(job.checkpoint, tensor.name, first * row_bytes, stored, folder)
            else:
                stored.view(whole.dtype)[...] = whole[:, first : first + count].T
            rows: QuantizedRows | NDArray[np.uint8]
            if tensor.blocks is not None:
                rows, fits = _in_blocks(tensor, tensor.blocks, stored, job.row_method, pool)
            else:
                rows = _converted(tensor, stored, kernels.get(tensor), pool)
                fits = not isinstance(rows, QuantizedRows) or has_room(rows.scales)
            if tensor.is_rounded and not is_precise:
                holds_numbers = holds_numbers or not is_zero(stored.view(_EXPONENTS[tensor.dtype][0]))
                is_precise = fits
            for piece in job.format.pieces(tensor, first, rows):
                folder.write(piece.tensor.name, piece.offset, piece.content)
            done += stored.nbytes
            if progress is not None:
                progress("quantize", done, total)
        if holds_numbers and not is_precise:
            raise too_small(tensor.name, type_name(tensor))
        folder.finish(tensor.name, {output.name: output.nbytes for output in job.format.outputs(tensor)})


def _keep(
    tensor: PlannedTensor, value: Value, format: WeightFormat, job: QuantizeJob, folder: PartialFolder, pool: ThreadPool
) -> None:
    """Write a matrix that is not rounded again, as it will lie in memory."""
    (output,) = job.format.outputs(tensor)
    content = aligned_bytes(output.nbytes)
    count, *shape = value.type.matrices
    if count * format.packed_bytes(*shape) != output.nbytes:
        raise CheckpointError(f'the tensor "{tensor.name}" lies in {output.nbytes:,} bytes otherwise than in memory.')
    pack_matrix(WeightPart(value, content.ctypes.data, format), job.checkpoint, pool)
    folder.write(output.name, 0, content)
    folder.finish(tensor.name, {output.name: output.nbytes})


def _runs(tensor: PlannedTensor) -> Iterator[tuple[int, int, int]]:
    """(first row, rows, bytes of a row) of what is in memory at once; a tensor without rows is one row."""
    if tensor.nbytes == 0:
        return
    rows = tensor.shape[0] if tensor.shape else 1
    row_bytes = tensor.nbytes // rows
    at_once = max(BYTES_AT_ONCE // row_bytes // ROWS_MULTIPLE, 1) * ROWS_MULTIPLE
    for first in range(0, rows, at_once):
        yield first, min(at_once, rows - first), row_bytes


def _whole(checkpoint: Checkpoint, tensor: PlannedTensor, folder: PartialFolder) -> NDArray[Any]:
    """A tensor as the model's file has it, its elements as whole numbers of their size."""
    rows, columns = tensor.shape
    elements = np.empty((columns, rows), f"u{tensor.nbytes // (rows * columns)}")
    read_stored(checkpoint, tensor.name, 0, elements.view(np.uint8), folder)
    return elements


def read_stored(
    checkpoint: Checkpoint, name: str, start: int, target: NDArray[np.uint8], folder: PartialFolder
) -> None:
    """Bytes of a tensor from `start` on. Raises `CheckpointError` where they cannot be read; what is done is kept."""
    try:
        checkpoint.read_into(name, start, target)
    except CheckpointError as error:
        if not folder.done:
            raise
        raise KeptError(f"{str(error).rstrip('.')}; {folder.path} keeps what was done, for --resume.") from None


def _in_blocks(
    tensor: PlannedTensor, blocks: BlockedType, stored: NDArray[np.uint8], method: str, pool: ThreadPool
) -> tuple[NDArray[np.uint8], bool]:
    """Rows rounded to a block type, as they lie in memory; whether float16 scales are precise enough for them. Raises
    `CheckpointError` for numbers that are not finite or too large."""
    floats = as_float32(stored.view(STORED_FLOATS[tensor.dtype]))
    try:
        with ThreadPoolExecutor(pool.num_workers, "ftllm-nb quantizer") as workers:
            encoded = searched(written_type(blocks), floats, method, workers)
    except ValueError as error:
        raise not_quantizable(tensor.name, error) from None
    return laid(blocks, encoded, floats.shape[1], pool), written_type(blocks).has_room(encoded)


def _converted(
    tensor: PlannedTensor, stored: NDArray[np.uint8], kernel: Kernel | None, pool: ThreadPool
) -> QuantizedRows | NDArray[np.uint8]:
    """The rows as the tensor's scheme has them. Raises `CheckpointError` for numbers that are not finite."""
    if kernel is not None and tensor.scheme is not None:
        floats = stored.view(np.float32 if tensor.dtype == "float32" else np.uint16)
        try:
            return quantize_rows(kernel, floats, tensor.dtype, tensor.scheme, pool)
        except ValueError as error:
            raise not_quantizable(tensor.name, error) from None
    kind, exponent = _EXPONENTS.get(tensor.dtype, ("", 0))
    if kind and bool(((stored.view(kind) & exponent) == exponent).any()):
        raise CheckpointError(f'the tensor "{tensor.name}" holds numbers that are not finite: its file is damaged.')
    return stored
