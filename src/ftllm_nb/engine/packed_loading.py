"""Packed matrices from their files into a program's memory: bytes that lie there as they lie here.

They are read, not mapped: large pages (memory.py) hold what every token reads, and the page cache's are small.
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
from ftllm_nb.graph.lower import WeightPart

BYTES_AT_ONCE = 8 << 20
"""What a thread reads at a time, a multiple of 8."""


def read_packed(
    parts: Sequence[WeightPart], checkpoint: Checkpoint, threads: int, progress: Callable[[int], None]
) -> None:
    """Fill the memory of matrices that the checkpoint holds packed; `progress` is told of bytes that were read.

    Raises `CheckpointError` where a file cannot be read, or holds another number of bytes than the matrix takes, or
    others than were written.
    """
    targets = [(part.weight.name, memory_of(part, checkpoint)) for part in parts]

    sums = dict.fromkeys((name for name, _ in targets), 0)

    def read(piece: tuple[str, int, NDArray[np.uint8]]) -> tuple[str, int, int]:
        name, start, target = piece
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


def memory_of(part: WeightPart, checkpoint: Checkpoint) -> NDArray[np.uint8]:
    """The bytes of a program that are a matrix's."""
    weight = part.weight
    count, rows, columns = weight.type.matrices
    size = count * part.format.packed_bytes(rows, columns)
    stored = checkpoint.tensors[weight.name].nbytes
    if stored != size:  # reading more would write over what lies behind
        raise CheckpointError(
            f"{checkpoint.path}: tensor {shown(weight.name)} is packed in {stored:,} bytes, but {size:,} were expected."
        )
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(part.address))


def pieces(targets: Sequence[tuple[str, NDArray[np.uint8]]]) -> Iterator[tuple[str, int, NDArray[np.uint8]]]:
    """Name, first byte and memory of runs of at most `BYTES_AT_ONCE`."""
    for name, target in targets:
        for start in range(0, target.size, BYTES_AT_ONCE):
            yield name, start, target[start : start + BYTES_AT_ONCE]
