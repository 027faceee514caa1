"""Weights from a checkpoint into a program's memory, tensor by tensor, on all threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from ftllm_nb.engine.converted_loading import Sources, conversion, pack_converted
from ftllm_nb.engine.packed_loading import packed_size, read_packed
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.errors import CheckpointError, EngineError, StepStopped
from ftllm_nb.graph.program import Program
from ftllm_nb.graph.weight_memory import WeightPart
from ftllm_nb.graph.weight_steps import Transposed
from ftllm_nb.host_memory import obtainable_bytes
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.repack_integers import BAD_NUMBER, BAD_SCALE
from ftllm_nb.kernels.repack_interleaved import BITS, repack_interleaved_kernel
from ftllm_nb.kernels.scaled.pack import BAD_CODE
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS
from ftllm_nb.kernels.transpose import TRANSPOSE, transpose_kernel
from ftllm_nb.quant.blocks import BlockFormat, RoundedBlocks, blocks_of
from ftllm_nb.quant.integers import IntegerFormat, IntegerLayout, is_zero
from ftllm_nb.quant.scaled import ScaledFormat
from ftllm_nb.quant.stored import StoredFormat
from ftllm_nb.quantized_type import BlockedType, ElementType, QuantizedType, is_quantized

Progress = Callable[[str, int, int], None]
_FLOAT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_FLOAT = "float32 (--dtype, --embedding_dtype or a rule of --dtype_config)"


def loading_kernels(program: Program, checkpoint: Checkpoint) -> list[Kernel]:
    """The kernels that `load_weights` will run."""
    parts = [part for part in program.weights if not checkpoint.is_packed(part.weight.name)]
    packed = [_pack_kernel(part, checkpoint) for part in parts]
    packed += [part.format.quantizer() for part in parts if isinstance(part.format, RoundedBlocks)]
    transposed = {
        _FLOAT_BYTES[str(part.weight.type.dtype)]
        for part in program.weights
        if part.weight.computed is not None and any(isinstance(step, Transposed) for step in part.weight.computed.steps)
    }
    return packed + [transpose_kernel(element) for element in sorted(transposed)]


def require_memory(program: Program, held: int = 0) -> None:
    """Raise `EngineError` where the memory cannot hold the weights: the system would end the process half-way.

    `held`: bytes for them that the process has already.
    """
    needed = sum(packed_size(part.weight, part.format) for part in program.weights if not part.in_place)
    obtainable = obtainable_bytes()
    if obtainable is not None and needed > obtainable + held:
        raise EngineError(
            f"the model's weights need {shown_bytes(needed)} of memory, and {shown_bytes(obtainable)} are free: close "
            "other programs, raise the limit of memory, or choose a smaller model or --dtype."
        )


def load_weights(program: Program, checkpoint: Checkpoint, pool: ThreadPool, progress: Progress | None) -> None:
    """Fill the program's memory; each tensor's pages are given back once it is packed.

    Reports ("load", bytes done, bytes in all). Raises `CheckpointError` for tensors that cannot be read.
    """
    sizes = {part.weight.name: checkpoint.tensors[part.weight.name].nbytes for part in program.weights}
    total, done = sum(sizes.values()), 0
    for vector in program.vectors:
        stored = read_float32(checkpoint, vector.weight.name).reshape(vector.target.shape)
        if not np.isfinite(stored).all():
            raise CheckpointError(
                f'the tensor "{vector.weight.name}" holds numbers that are not finite: its file is damaged, so '
                "download it again."
            )
        np.add(stored, np.float32(vector.plus), out=vector.target)
        checkpoint.release(vector.weight.name)

    def report(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress("load", min(done, total), total)

    packed = [part for part in program.weights if checkpoint.is_packed(part.weight.name)]
    if packed:
        read_packed(packed, checkpoint, pool.num_workers, report)
    for part in program.weights:
        if not checkpoint.is_packed(part.weight.name):
            pack_matrix(part, checkpoint, pool)
            checkpoint.release(part.weight.name)
            report(sizes[part.weight.name])


def pack_matrix(part: WeightPart, checkpoint: Checkpoint, pool: ThreadPool) -> None:
    """Fill the memory of a matrix. Raises `CheckpointError` where it cannot be read, or its numbers do not fit."""
    name = part.weight.name
    count, *shape = part.weight.type.matrices
    if isinstance(part.format, IntegerLayout) and shape[1] > part.format.most_columns:
        raise CheckpointError(
            f'the tensor "{name}" has rows of {shape[1]} numbers, of which {part.format.name} can add '
            f"{part.format.most_columns}: it needs a type with groups, as int8g128, or a rule of --dtype_config."
        )
    kernel = _pack_kernel(part, checkpoint).address
    convert = None if _is_interleaved(part, checkpoint) else conversion(part, checkpoint.tensors[name].stored)
    if convert is not None:
        fault = pack_converted(part, kernel, checkpoint.read_blocks(name), convert, pool)
    elif part.weight.type.rank > 2 and not is_quantized(_source_type(part)):
        fault = _pack_stack(part, kernel, checkpoint, pool)
    else:
        fault = _pack_whole(part, kernel, _sources(part, checkpoint, pool), pool)
    if fault:
        raise CheckpointError(f'the tensor "{name}" holds {_fault(part, fault)}.')
    if isinstance(part.format, IntegerFormat):
        block_bytes = part.format.block_bytes(shape[1])
        memory = (ctypes.c_uint8 * (count * part.format.packed_bytes(*shape))).from_address(part.address)
        packed = np.ctypeslib.as_array(memory).reshape(-1, block_bytes)
        if not part.format.has_room(packed, shape[1]) and not _holds_zeros(checkpoint, name):
            raise _too_small(part)


def _pack_whole(part: WeightPart, kernel: int, sources: Sources, pool: ThreadPool) -> int:
    """Pack a matrix, or a stack of them, from arrays that hold all of it; the kernel's fault word."""
    arrays, numbers = sources
    source, *others = (array.ctypes.data for array in arrays)
    count, *shape = part.weight.type.matrices
    packed_bytes, source_bytes = part.format.packed_bytes(*shape), arrays[0].nbytes // count
    rows = [
        (source + number * source_bytes, part.address + number * packed_bytes, others) for number in range(count)
    ]
    return _run(kernel, rows, shape, numbers, pool)


def _pack_stack(part: WeightPart, kernel: int, checkpoint: Checkpoint, pool: ThreadPool) -> int:
    """Pack a stack of matrices of floats; the kernel's fault word. Where they lie otherwise in the checkpoint than the
    kernel reads them, one is copied at a time, so that there are never two stacks in memory."""
    stack = checkpoint.read(part.weight.name)
    if stack.flags.c_contiguous and not isinstance(part.format, RoundedBlocks):
        return _pack_whole(part, kernel, ([stack], []), pool)
    count, *shape = part.weight.type.matrices
    for number, matrix in enumerate(stack.reshape(count, *shape)):
        array = _in_blocks(part, matrix, pool) if isinstance(part.format, RoundedBlocks) else _contiguous(matrix, pool)
        target = part.address + number * part.format.packed_bytes(*shape)
        fault = _run(kernel, [(array.ctypes.data, target, [])], shape, [], pool)
        if fault:
            return fault
    return 0


def _run(
    kernel: int, places: list[tuple[int, int, list[int]]], shape: list[int], numbers: list[int], pool: ThreadPool
) -> int:
    """Run a packing kernel on matrices of a shape: source, target and further sources of each. Its fault word."""
    fault = np.zeros(1, np.int64)
    rows = np.zeros((len(places), ROW_FIELDS), np.int64)
    for row, (source, target, others) in zip(rows, places, strict=True):
        fields = (source, target, *shape, fault.ctypes.data, *others, *numbers)
        row[: 1 + len(fields)] = (kernel, *fields)
    if not pool.run(rows, np.zeros(STEP_FIELDS, np.int64)):
        raise StepStopped
    return int(fault[0])


def _is_interleaved(part: WeightPart, checkpoint: Checkpoint) -> bool:
    """Whether a matrix is packed from rows of integers between their scales, as ggml stores them."""
    return isinstance(part.format, StoredFormat) and checkpoint.tensors[part.weight.name].stored in BITS


def _pack_kernel(part: WeightPart, checkpoint: Checkpoint) -> Kernel:
    if _is_interleaved(part, checkpoint):
        return repack_interleaved_kernel(checkpoint.tensors[part.weight.name].stored)
    return part.format.pack_kernel(_source_type(part))


def _holds_zeros(checkpoint: Checkpoint, name: str) -> bool:
    """Whether all numbers of a tensor are 0."""
    stored = checkpoint.read(name)
    return is_zero(stored.view(f"u{stored.itemsize}"))


def _too_small(part: WeightPart) -> CheckpointError:
    return CheckpointError(
        f'the tensor "{part.weight.name}" holds numbers too small for {part.format.name}, whose scales are float16: it '
        f"needs {_FLOAT}."
    )


def _in_blocks(part: WeightPart, floats: NDArray[Any], pool: ThreadPool) -> NDArray[np.uint8]:
    """A matrix of floats rounded to the blocks of the part's format."""
    name, source = part.weight.name, _source_type(part)
    assert isinstance(part.format, RoundedBlocks)
    rows = _contiguous(floats, pool)
    try:
        blocks = blocks_of(part.format.stored_name, rows, source, threads=pool.num_workers)
    except ValueError as error:
        raise CheckpointError(f'the tensor "{name}" {error}: its file is damaged, or it needs {_FLOAT}.') from None
    if not part.format.has_room(blocks) and not is_zero(rows.view(f"u{rows.itemsize}")):
        raise _too_small(part)
    return blocks


def _source_type(part: WeightPart) -> ElementType:
    """The type that a matrix is packed from: numbers that are not kept come as the float32 that they stand for."""
    dtype = part.weight.type.dtype
    keeps_blocks = isinstance(part.format, BlockFormat) and not isinstance(part.format, RoundedBlocks)
    keeps_numbers = isinstance(part.format, (StoredFormat, ScaledFormat))
    is_kept = keeps_blocks if isinstance(dtype, BlockedType) else keeps_numbers
    return "float32" if is_quantized(dtype) and not is_kept else dtype


def _fault(part: WeightPart, code: int) -> str:
    """What is wrong with a matrix, and what to do."""
    if not is_quantized(_source_type(part)):
        return (
            f"numbers that are not finite, or too large for {part.format.name}: its file is damaged, or it needs "
            f"{_FLOAT}"
        )
    what = {
        BAD_SCALE: "scales that are not finite",
        BAD_NUMBER: "numbers that do not fit 4 bits",
        BAD_CODE: "numbers that are not finite",
    }[code]
    return f"{what}: its file is damaged, so download it again"


def _sources(part: WeightPart, checkpoint: Checkpoint, pool: ThreadPool) -> Sources:
    """What the kernel that packs a matrix reads."""
    name, dtype = part.weight.name, _source_type(part)
    if isinstance(part.format, RoundedBlocks):
        return [_in_blocks(part, checkpoint.read(name), pool)], []
    if isinstance(part.format, BlockFormat) or _is_interleaved(part, checkpoint):
        return [np.ascontiguousarray(checkpoint.read_blocks(name))], []
    if isinstance(part.format, ScaledFormat):
        found = checkpoint.read_scaled(name)
        offsets = np.empty(0, np.uint8) if found.offsets is None else found.offsets
        return [np.ascontiguousarray(array) for array in (found.codes, found.scales, offsets)], []
    if not isinstance(dtype, QuantizedType):
        return [_contiguous(checkpoint.read(name), pool)], []
    stored = checkpoint.read_integers(name)
    half = np.uint8(dtype.half)
    zero_points = np.empty(0, np.uint8) if stored.zero_points is None else stored.zero_points.view(np.uint8) + half
    arrays = [np.ascontiguousarray(array) for array in (stored.numbers, stored.scales, zero_points)]
    return arrays, [int(stored.numbers.dtype == np.int8)]


def _contiguous(array: NDArray[Any], pool: ThreadPool) -> NDArray[Any]:
    """The array with its rows end to end; a matrix that was only turned is laid so by all threads."""
    if array.ndim != 2 or array.flags.c_contiguous or not array.T.flags.c_contiguous:
        return np.ascontiguousarray(array)
    turned, row = np.empty(array.shape, array.dtype), np.zeros((1, ROW_FIELDS), np.int64)
    columns, rows = array.shape
    fields = TRANSPOSE.values(source=array.ctypes.data, target=turned.ctypes.data, rows=rows, columns=columns)
    row[0, : 1 + len(fields)] = (transpose_kernel(array.itemsize).address, *fields)
    if not pool.run(row, np.zeros(STEP_FIELDS, np.int64)):
        raise StepStopped
    return turned


def read_float32(checkpoint: Checkpoint, name: str) -> NDArray[np.float32]:
    """A tensor as float32."""
    stored = checkpoint.read(name)
    if checkpoint.tensors[name].dtype == "bfloat16":
        return bfloat16_as_float32(stored)
    return stored.astype(np.float32)
