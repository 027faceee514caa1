"""The walker: the compiled loop in which every worker thread runs a program, and the meeting between operations.

It knows no model, no operator and no weight format: it calls a row's kernel by address, and goes on to the next row
when that one is done.

Workers do not wait for each other, but for work. A worker joins the operation under way, calls its kernel, which takes
chunks until none is left, and leaves. What a worker has taken it has done when it leaves, and nobody leaves before all
is taken: so the operation is done when all who joined it have left, and the last one to leave begins the next. A worker
that the system keeps from a core holds up nobody unless it had joined.
"""

from __future__ import annotations

import numba

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import (
    atomic_load,
    call_kernel,
    compare_exchange,
    load_i64,
    read_counter,
    spin_pause,
    store_i64,
    store_release,
    yield_thread,
)
from ftllm_nb.kernels.step import LINE, ROW_FIELDS, WORKER_COUNTERS, WORKER_STEALING, field

CONTROL_STATE = 0 * LINE
"""The operation under way, in one word: its number << NUMBER_SHIFT | who joined << JOINED_SHIFT | who left.

Operations are counted over all walks, so that no state comes again. Between walks `joined` is ENDED, and `left` tells
whether the walk before was stopped. Each word that is written during a walk has cache lines of its own.
"""
CONTROL_STOP = 1 * LINE
"""Not 0: somebody wants the walk to end early."""
CONTROL_SHUTDOWN = CONTROL_STOP + 8
"""Not 0: workers are to return for good."""
CONTROL_PROGRAM = 2 * LINE
"""Three words: address of the rows, their number, address of the step's header."""
CONTROL_TIMES = CONTROL_PROGRAM + 24
"""Address of int64 [operations + 1] for the time stamps before each operation and after the last; 0: nobody asks."""
CONTROL_FIRST = CONTROL_PROGRAM + 32
"""Number of the walk's first operation."""
CONTROL_COUNTERS = 3 * LINE
"""Two sets of chunk counters, one line a worker each: operations of even and of odd number."""

COUNT_BITS = 12
"""Bits of `joined` and of `left`."""
JOINED_SHIFT = COUNT_BITS
NUMBER_SHIFT = 2 * COUNT_BITS
NUMBER_MASK = (1 << (64 - NUMBER_SHIFT)) - 1
COUNT_MASK = (1 << COUNT_BITS) - 1
ENDED = COUNT_MASK
"""The value of `joined` while no walk is under way: more than there can be workers."""


def control_bytes(workers: int) -> int:
    """Size of the control block for that many workers."""
    return CONTROL_COUNTERS + 2 * workers * LINE


def is_walking(state: int) -> bool:
    """Whether a walk is under way by that CONTROL_STATE."""
    return state >> JOINED_SHIFT & COUNT_MASK != ENDED


@numba.njit(inline="always")
def _number(state):
    return (state >> NUMBER_SHIFT) & NUMBER_MASK


@numba.njit(inline="always")
def _joined(state):
    return (state >> JOINED_SHIFT) & COUNT_MASK


@numba.njit(inline="always")
def _left(state):
    return state & COUNT_MASK


@numba.njit(inline="always")
def _counters(control, number, workers):
    """Address of an operation's chunk counters."""
    return control + CONTROL_COUNTERS + (number & 1) * workers * LINE


@numba.njit
def _clear_counters(control, number, workers):
    counters = _counters(control, number, workers)
    for index in range(workers):
        store_i64(counters + index * LINE, 0)


@numba.njit
def _after(control, number):
    """The state that follows an operation: the next one, with one worker in it, or the walk's end."""
    ended = ((number + 1) << NUMBER_SHIFT) | (ENDED << JOINED_SHIFT)
    if atomic_load(control + CONTROL_STOP) != 0:
        return ended | 1
    if ((number + 1 - load_i64(control + CONTROL_FIRST)) & NUMBER_MASK) == load_i64(control + CONTROL_PROGRAM + 8):
        return ended
    return ((number + 1) << NUMBER_SHIFT) | (1 << JOINED_SHIFT)


@numba.njit
def _note_time(control, number):
    times = load_i64(control + CONTROL_TIMES)
    if times != 0:
        store_i64(times + 8 * ((number - load_i64(control + CONTROL_FIRST)) & NUMBER_MASK), read_counter())


@numba.njit
def _take_part(control, worker, index, workers, state):
    """Join the operation of `state`, if it is still under way, and those that this worker begins itself.

    Returns the number of the last operation that the worker left, or −1 if it joined none.
    """
    if compare_exchange(control + CONTROL_STATE, state, state + (1 << JOINED_SHIFT)) != state:
        return -1
    while True:
        # Until this worker leaves, the operation is under way and its program is in place.
        number = _number(state)
        # Nobody looks at the other set during this operation: make it ready for the next one.
        store_i64(_counters(control, number + 1, workers) + index * LINE, 0)
        store_i64(worker + 8 * WORKER_COUNTERS, _counters(control, number, workers))
        store_i64(worker + 8 * WORKER_STEALING, 0)
        position = (number - load_i64(control + CONTROL_FIRST)) & NUMBER_MASK
        row = load_i64(control + CONTROL_PROGRAM) + position * (8 * ROW_FIELDS)
        call_kernel(field(row, 0), row, load_i64(control + CONTROL_PROGRAM + 16), worker)
        state = atomic_load(control + CONTROL_STATE)
        while True:
            is_last = _joined(state) == _left(state) + 1
            following = state + 1
            if is_last:
                if _joined(state) < workers:
                    _clear_counters(control, number + 1, workers)
                _note_time(control, number + 1)
                following = _after(control, number)
            found = compare_exchange(control + CONTROL_STATE, state, following)
            if found == state:
                break
            state = found
        if not is_last or _joined(following) == ENDED:
            return number
        state = following


@kernel(arguments=("int64", "int64"))
def publish(control, workers):
    """Begin the walk of the program in the control block. No walk is under way."""
    number = _number(load_i64(control + CONTROL_STATE))
    store_i64(control + CONTROL_FIRST, number)
    _clear_counters(control, number, workers)
    _note_time(control, number)
    store_release(control + CONTROL_STATE, number << NUMBER_SHIFT)


@kernel(arguments=("int64", "int64", "int64", "int64"), result="int64")
def lead(control, worker, workers, spins_before_yield):
    """Take part as worker 0 in the walk under way, if any, until it has ended; 0 when it was stopped, 1 otherwise."""
    last, spins = -1, 0
    state = atomic_load(control + CONTROL_STATE)
    while _joined(state) != ENDED:
        if _number(state) == last:
            spin_pause()
            spins += 1
            if spins > spins_before_yield:
                yield_thread()
        else:
            left = _take_part(control, worker, 0, workers, state)
            if left >= 0:
                last, spins = left, 0
        state = atomic_load(control + CONTROL_STATE)
    return 1 - _left(state)


@kernel(arguments=("int64", "int64", "int64", "int64", "int64", "int64"))
def follow(control, worker, index, workers, spins_before_yield, patience):
    """Take part in walks, until none came for `patience` turns of the spin loop, or at shutdown."""
    last, spins = -1, 0
    while True:
        state = atomic_load(control + CONTROL_STATE)
        if _joined(state) == ENDED:
            if last >= 0:
                last, spins = -1, 0  # patience begins when a walk ends, however long this worker waited in it
            elif spins >= patience or load_i64(control + CONTROL_SHUTDOWN) != 0:
                return
        elif _number(state) != last:
            left = _take_part(control, worker, index, workers, state)
            if left >= 0:
                last, spins = left, 0
            continue
        spin_pause()
        spins += 1
        if spins > spins_before_yield:
            yield_thread()
