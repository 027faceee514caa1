"""The walker: the compiled loop in which every worker thread runs a program, and the barrier between operations.

It knows no model, no operator and no weight format: it calls a row's kernel by address, waits until all workers
are done with it, and goes on to the next row.
"""

from __future__ import annotations

import numba

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import (
    atomic_add,
    atomic_load,
    call_kernel,
    load_i64,
    read_counter,
    spin_pause,
    store_i64,
    store_release,
    yield_thread,
)
from ftllm_nb.kernels.step import LINE, ROW_FIELDS, WORKER_COUNTERS, WORKER_STEALING, WORKER_TIMES, field

CONTROL_SEQUENCE = 0 * LINE
"""Number of the walk that the workers are to run, or ran last; each word has a cache line of its own."""
CONTROL_ARRIVED = 1 * LINE
"""Arrivals at barriers, of all workers, ever: never reset, so that a barrier writes one word less."""
CONTROL_GENERATION = 2 * LINE
"""Twice the number of barriers passed, plus 1 where the last worker to arrive decided to end the walk.

A change lets the waiting workers go on; decision and release are one word, one cache line to pass around.
"""
CONTROL_STOP = 3 * LINE
"""Not 0: somebody wants the walk to end early."""
CONTROL_PROGRAM = 4 * LINE
"""Four words: address of the rows, their number, address of the step's header, whether to shut down."""
CONTROL_LED = CONTROL_PROGRAM + 32
"""Number of the walk that worker 0 runs, or ran last."""
CONTROL_COUNTERS = 5 * LINE
"""Two sets of chunk counters, one line a worker each: consecutive operations use them in turn."""

SPINS_BEFORE_YIELD = 200
"""Turns of a spin loop before the core is offered to other threads at each turn."""


def control_bytes(workers: int) -> int:
    """Size of the control block for that many workers."""
    return CONTROL_COUNTERS + 2 * workers * LINE


@numba.njit(inline="always")
def _barrier(control, workers):
    """Wait for all workers; 1 when the walk is to end. The last to arrive decides, so that all decide alike."""
    passed = atomic_load(control + CONTROL_GENERATION) >> 1
    if atomic_add(control + CONTROL_ARRIVED, 1) == (passed + 1) * workers - 1:
        stop = 1 if atomic_load(control + CONTROL_STOP) != 0 else 0
        store_release(control + CONTROL_GENERATION, 2 * (passed + 1) + stop)
        return stop
    spins = 0
    generation = atomic_load(control + CONTROL_GENERATION)
    while generation >> 1 == passed:
        spin_pause()
        spins += 1
        if spins > SPINS_BEFORE_YIELD:
            yield_thread()
        generation = atomic_load(control + CONTROL_GENERATION)
    return generation & 1


@numba.njit
def _walk(control, worker, index, workers):
    """Run the published program as worker `index`. Returns whether it ran to its end."""
    rows = load_i64(control + CONTROL_PROGRAM)
    num_rows = load_i64(control + CONTROL_PROGRAM + 8)
    step = load_i64(control + CONTROL_PROGRAM + 16)
    set_bytes = workers * LINE
    times = load_i64(worker + 8 * WORKER_TIMES)
    for i in range(num_rows):
        if times != 0:
            store_i64(times + 8 * i, read_counter())
        used = (i & 1) * set_bytes
        # Nobody looks at the other set during this operation: make it ready for the next one.
        store_i64(control + CONTROL_COUNTERS + (set_bytes - used) + index * LINE, 0)
        store_i64(worker + 8 * WORKER_COUNTERS, control + CONTROL_COUNTERS + used)
        store_i64(worker + 8 * WORKER_STEALING, 0)
        row = rows + i * (8 * ROW_FIELDS)
        call_kernel(field(row, 0), row, step, worker)
        if _barrier(control, workers) != 0:
            return 0
    if times != 0:
        store_i64(times + 8 * num_rows, read_counter())
    return 1


@kernel(arguments=("int64", "int64"))
def publish(control, workers):
    """Announce the program in the control block as the next walk. All workers are done with the one before."""
    for index in range(workers):
        store_i64(control + CONTROL_COUNTERS + index * LINE, 0)
    atomic_add(control + CONTROL_SEQUENCE, 1)


@kernel(arguments=("int64", "int64", "int64"), result="int64")
def lead(control, worker, workers):
    """Run the published walk as worker 0; 1 when it ran to its end, 0 when it was stopped."""
    store_i64(control + CONTROL_LED, atomic_load(control + CONTROL_SEQUENCE))
    return _walk(control, worker, 0, workers)


@kernel(arguments=("int64", "int64", "int64", "int64", "int64", "int64"), result="int64")
def follow(control, worker, index, workers, seen, patience):
    """Run walks as they are published, until none came for `patience` turns of the spin loop, or at shutdown.

    Returns the number of the last walk that it ran (`seen` is the one before), or −1 at shutdown.
    """
    spins = 0
    while spins < patience:
        sequence = atomic_load(control + CONTROL_SEQUENCE)
        if sequence == seen:
            spin_pause()
            spins += 1
            if spins > SPINS_BEFORE_YIELD:
                yield_thread()
            continue
        if load_i64(control + CONTROL_PROGRAM + 24) != 0:
            return -1
        seen = sequence
        _walk(control, worker, index, workers)
        spins = 0
    return seen
