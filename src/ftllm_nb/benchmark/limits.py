"""What the machine can do at most: read bandwidth, float32 multiply-adds, int8 dot products.

Measured with `vector_loops`, which share nothing with the matmul kernels, under the instruction tier in use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftllm_nb.benchmark import vector_loops
from ftllm_nb.benchmark.rates import Work, best_rates

WINDOW_SECONDS = 0.1
REPETITIONS = 5
MAX_READ_BYTES = 2 * 2**30
"""No cache flatters a buffer of this size; larger ones would only take memory from the model."""
READ_PIECE_BYTES = 4 * 2**20
ITERATIONS_PER_PIECE = 200_000
DRIFT = 0.10
"""Two measurements of one limit that differ by more say that the machine changed between them."""


@dataclass(frozen=True)
class MachineLimits:
    """Limits of `threads` threads together.

    `read_gb_per_s`: 1e9 bytes a second, over a buffer of `read_bytes`, each thread reading its own part.
    `fma_gflop_per_s`: float32, a multiplication and an addition counted as two. `dot_gop_per_s`: int8, each
    product and each addition counted, summed in 32 bits or, on AVX2, in pairs in 16 bits; None where the CPU or the
    tier has no instruction for them.
    """

    threads: int
    read_bytes: int
    read_gb_per_s: float
    fma_gflop_per_s: float
    dot_gop_per_s: float | None


def measure_limits(
    threads: int,
    read_bytes: int,
    *,
    seconds: float = WINDOW_SECONDS,
    repetitions: int = REPETITIONS,
) -> MachineLimits:
    """Measure all limits on `threads` ≥ 1 threads; about 20 windows of `seconds`.

    `read_bytes`: the packed model's size, since a model that a cache holds is read faster; more than
    `MAX_READ_BYTES` is measured as that. Raises MemoryError where the buffer cannot be had.
    """
    read_bytes = min(read_bytes, MAX_READ_BYTES)
    compile_loops()
    read = best_rates(threads, lambda _: reading_works(read_bytes // threads), seconds, repetitions)
    multiply_add = best_rates(threads, lambda _: [multiply_add_piece], seconds, repetitions)
    dot = None
    if vector_loops.DOT is not None:
        dot = best_rates(threads, lambda _: [dot_piece], seconds, repetitions)[0] / 1e9
    return MachineLimits(threads, read_bytes, max(read) / 1e9, multiply_add[0] / 1e9, dot)


def compile_loops() -> None:
    """Compile now, so that no measurement waits for it."""
    loops = [vector_loops.read_plain, vector_loops.read_prefetching, vector_loops.multiply_add]
    if vector_loops.DOT is not None:
        loops.append(vector_loops.dot_product)
    for loop in loops:
        loop.address  # noqa: B018  (the property compiles)


def reading_works(part_bytes: int) -> list[Work]:
    """Works that read a buffer of `part_bytes` in a circle; the calling thread makes it and first touches it.

    One with and one without software prefetch: which one is faster is the CPU's matter.
    """
    alignment = vector_loops.READ_STREAMS * vector_loops.READ_BLOCK
    pieces = max(1, part_bytes // READ_PIECE_BYTES)
    piece_bytes = max(1, part_bytes // pieces // alignment) * alignment
    # A small buffer is read several times, lest the calls cost more than the reading.
    passes = max(1, READ_PIECE_BYTES // piece_bytes)
    memory = np.empty(pieces * piece_bytes + vector_loops.CACHE_LINE, np.uint8)
    memory.fill(1)
    start = -memory.ctypes.data % vector_loops.CACHE_LINE

    def reader(read: Callable[[int, int, int], int]) -> Work:
        position = 0

        def work() -> float:
            nonlocal position
            address = memory.ctypes.data + start + position * piece_bytes
            read(address, piece_bytes // vector_loops.READ_STREAMS, passes)
            position = (position + 1) % pieces
            return passes * piece_bytes

        return work

    return [reader(vector_loops.read_plain), reader(vector_loops.read_prefetching)]


def multiply_add_piece() -> float:
    """Some multiply-adds; the number of float32 operations.

    A factor of almost −1 keeps values normal and all their bits changing: denormal or constant operands would
    run at another speed.
    """
    vector_loops.multiply_add(ITERATIONS_PER_PIECE, -0.9999999, 0.3)
    return ITERATIONS_PER_PIECE * vector_loops.MULTIPLY_ADD_OPERATIONS


def dot_piece() -> float:
    """Some int8 dot products; the number of operations."""
    vector_loops.dot_product(ITERATIONS_PER_PIECE, 0x35A7C64B, 0x7B1CE539)
    return ITERATIONS_PER_PIECE * vector_loops.DOT_OPERATIONS


def mean_limits(before: MachineLimits, after: MachineLimits) -> MachineLimits:
    """The limits that held during what ran between two measurements: their means."""
    dots = [dot for dot in (before.dot_gop_per_s, after.dot_gop_per_s) if dot is not None]
    return MachineLimits(
        before.threads,
        before.read_bytes,
        (before.read_gb_per_s + after.read_gb_per_s) / 2,
        (before.fma_gflop_per_s + after.fma_gflop_per_s) / 2,
        sum(dots) / len(dots) if dots else None,
    )


def has_drifted(before: float | None, after: float | None) -> bool:
    """Whether two measurements of one limit differ by more than `DRIFT` of the smaller."""
    if before is None or after is None:
        return False
    return max(before, after) > (1 + DRIFT) * min(before, after)
