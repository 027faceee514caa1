"""Packed matrices from their files into a program's memory: bytes that lie there as they lie here.

They are read, not mapped: large pages (memory.py) hold what every token reads, and the page cache's may be small.
Experts of a model that memory hardly holds are mapped (in_place.py), and read here only to see that they are whole.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.checksum import MODULUS, checksum
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.ir import Value
from ftllm_nb.graph.weight_memory import WeightPart
from ftllm_nb.quant.base import WeightFormat

BYTES_AT_ONCE = 8 << 20
"""What a thread reads at a time, a multiple of 8."""


def read_packed(
    parts: Sequence[WeightPart], checkpoint: Checkpoint, threads: int, progress: Callable[[int], None]
) -> None:
    """Fill the memory of matrices that the checkpoint holds packed; `progress` is told of bytes that were read.

    Raises `CheckpointError` where a file cannot be read, or holds another number of bytes than the matrix takes, or
    others than were written.
    """
    targets = [(part.weight.name, memory_of(part, checkpoint), part.in_place) for part in parts]
    sums = dict.fromkeys((name for name, _, _ in targets), 0)

    def read(piece: tuple[str, int, NDArray[np.uint8], bool]) -> tuple[str, int, int]:
        name, start, target, in_place = piece
        if in_place:  # read once all the same: kernels check nothing, and what fits into memory stays there
            target = np.empty_like(target)
        checkpoint.read_into(name, start, target)
        return name, target.size, checksum(target, start)

    with ThreadPoolExecutor(threads, "ftllm-nb reader") as readers:
        try:
            for name, size, part in readers.map(read, pieces(targets)):
                sums[name] = (sums[name] + part) % MODULUS
                progress(size)
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            raise
    for name, found in sums.items():
        checkpoint.check_sum(name, found)


def packed_size(weight: Value, format: WeightFormat) -> int:
    """Bytes that a matrix, or a stack of them, takes in memory."""
    count, rows, columns = weight.type.matrices
    return count * format.packed_bytes(rows, columns)


def require_size(weight: Value, format: WeightFormat, checkpoint: Checkpoint) -> int:
    """The bytes of a packed matrix. Raises `CheckpointError` where its file holds another number of them."""
    size, stored = packed_size(weight, format), checkpoint.tensors[weight.name].nbytes
    if stored != size:  # reading more would write over what lies behind
        raise CheckpointError(
            f"{checkpoint.path}: tensor {shown(weight.name)} is packed in {stored:,} bytes, but {size:,} were expected."
        )
    return size


def memory_of(part: WeightPart, checkpoint: Checkpoint) -> NDArray[np.uint8]:
    """The bytes of a program that are a matrix's."""
    size = require_size(part.weight, part.format, checkpoint)
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(part.address))


def pieces(
    targets: Sequence[tuple[str, NDArray[np.uint8], bool]],
) -> Iterator[tuple[str, int, NDArray[np.uint8], bool]]:
    """Name, first byte and memory of runs of at most `BYTES_AT_ONCE`."""
    for name, target, in_place in targets:
        for start in range(0, target.size, BYTES_AT_ONCE):
            yield name, start, target[start : start + BYTES_AT_ONCE], in_place
