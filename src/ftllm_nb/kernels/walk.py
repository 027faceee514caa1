"""The walker: the compiled loop in which every worker thread runs a program, and the meeting between operations.

It knows no model, no operator and no weight format: it calls a row's kernel by address, and goes on to the next row
when that one is done.

Workers do not wait for each other, but for work. A worker joins the operation under way, calls its kernel, which takes
chunks until none is left, and leaves. What a worker has taken it has done when it leaves, and nobody leaves before all
is taken: so the operation is done when all who joined it have left, and the last one to leave begins the next. A worker
that the system keeps from a core holds up nobody unless it had joined. How many may join is the worker's to say who
begins an operation (meeting.py).

Memory must never wait either: a worker without work fetches the beginning of the weights that it will read next.
"""

from __future__ import annotations

import numba

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.emit import LINE_BYTES
from ftllm_nb.kernels.meeting import (
    COUNT_MASK,
    ENDED,
    JOINED_SHIFT,
    LIMIT_SHIFT,
    NUMBER_MASK,
    NUMBER_SHIFT,
)
from ftllm_nb.kernels.memory import (
    atomic_load,
    call_kernel,
    compare_exchange,
    fetch_into_second_cache,
    load_i64,
    read_counter,
    spin_pause,
    store_i64,
    store_release,
    yield_thread,
)
from ftllm_nb.kernels.step import (
    LINE,
    ROW_CHUNK_BYTES,
    ROW_FIELDS,
    ROW_NEXT,
    ROW_NEXT_BYTES,
    ROW_NEXT_CHUNKS,
    STEP_TOKENS,
    WORKER_CHUNK_BYTES,
    WORKER_CHUNKS,
    WORKER_NEXT,
    WORKER_NUMBER,
    WORKER_RANGE,
    WORKER_RANGES,
    WORKER_STEALING,
    field,
)

CONTROL_STATE = 0 * LINE
"""The operation under way, in one word of meeting.py. Between walks `joined` is ENDED, and `left` tells whether the
walk before was stopped. Each word that is written during a walk has cache lines of its own."""
CONTROL_STOP = 1 * LINE
"""Not 0: somebody wants the walk to end early."""
CONTROL_SHUTDOWN = CONTROL_STOP + 8
"""Not 0: workers are to return for good."""
CONTROL_PROGRAM = 2 * LINE
"""Three words: address of the rows, their number, address of the step's header."""
CONTROL_TIMES = CONTROL_PROGRAM + 24
"""Address of int64 [operations + 1] for the time stamps before each operation and after the last; 0: nobody asks."""
CONTROL_CHUNKS = CONTROL_PROGRAM + 32
"""Address of int64 [operations] for the numbers of chunks; 0: nobody asks."""
CONTROL_FIRST = CONTROL_PROGRAM + 40
"""Number of the walk's first operation."""
CONTROL_COUNTERS = 3 * LINE
"""Counters of chunks, one line each; see step.py."""

TOKENS_AS_LONG = 8
"""A chunk of as many tokens takes twice as long as one of a single token."""
FETCHED_AHEAD = 65536
"""Bytes of the next weights that a worker without work fetches: it has some µs, and its second cache more room."""
LINES_AT_ONCE = 8
"""How many it asks for between two looks at the state: as many as memory gives in the time of a pause."""


def control_bytes(workers: int) -> int:
    """Size of the control block for that many workers."""
    return CONTROL_COUNTERS + workers * LINE


def is_walking(state: int) -> bool:
    """Whether a walk is under way by that CONTROL_STATE."""
    return state >> JOINED_SHIFT & COUNT_MASK != ENDED


@numba.njit(inline="always")
def _number(state):
    return (state >> NUMBER_SHIFT) & NUMBER_MASK


@numba.njit(inline="always")
def _limit(state):
    return (state >> LIMIT_SHIFT) & COUNT_MASK


@numba.njit(inline="always")
def _joined(state):
    return (state >> JOINED_SHIFT) & COUNT_MASK


@numba.njit(inline="always")
def _left(state):
    return state & COUNT_MASK


@numba.njit(inline="always")
def _beginning(number):
    """The state of an operation that nobody has joined: one worker may, and begins it."""
    return (number << NUMBER_SHIFT) | (1 << LIMIT_SHIFT)


@numba.njit
def _after(control, number):
    """The state that follows an operation: the next one, with one worker in it, or the walk's end."""
    ended = ((number + 1) << NUMBER_SHIFT) | (ENDED << JOINED_SHIFT)
    if atomic_load(control + CONTROL_STOP) != 0:
        return ended | 1
    if ((number + 1 - load_i64(control + CONTROL_FIRST)) & NUMBER_MASK) == load_i64(control + CONTROL_PROGRAM + 8):
        return ended
    return _beginning(number + 1) | (1 << JOINED_SHIFT)


@numba.njit
def _note_time(control, number):
    times = load_i64(control + CONTROL_TIMES)
    if times != 0:
        store_i64(times + 8 * ((number - load_i64(control + CONTROL_FIRST)) & NUMBER_MASK), read_counter())


@numba.njit
def _note_chunks(control, position, worker):
    places = load_i64(control + CONTROL_CHUNKS)
    if places != 0:
        store_i64(places + 8 * position, max(0, field(worker, WORKER_CHUNKS)))


@numba.njit
def _prepare(worker, index, workers, row, step, state):
    """Set the worker's fields for the operation of `state`, which it has joined as the last so far."""
    rank, ranges = index, workers
    begins = _joined(state) == 1
    if not begins and _limit(state) < workers:  # who is in it depends on who comes: so do the ranges
        rank, ranges = _joined(state) - 1, _limit(state)
    store_i64(worker + 8 * WORKER_NUMBER, _number(state))
    store_i64(worker + 8 * WORKER_RANGE, rank)
    store_i64(worker + 8 * WORKER_RANGES, ranges)
    store_i64(worker + 8 * WORKER_STEALING, 0)
    store_i64(worker + 8 * WORKER_CHUNKS, -1 if begins else 0)
    bytes_of_a_token = field(row, ROW_CHUNK_BYTES)
    longer = bytes_of_a_token * field(step, STEP_TOKENS) // TOKENS_AS_LONG
    store_i64(worker + 8 * WORKER_CHUNK_BYTES, bytes_of_a_token + longer)
    following = field(row, ROW_NEXT)
    if following != 0:
        following += field(row, ROW_NEXT_CHUNKS) * index // workers * field(row, ROW_NEXT_BYTES)
    store_i64(worker + 8 * WORKER_NEXT, following)


@numba.njit
def _take_part(control, worker, index, workers, state):
    """Join the operation of `state`, if it is still under way, and those that this worker begins itself.

    Returns the number of the last operation that the worker left, or −1 if it joined none.
    """
    if compare_exchange(control + CONTROL_STATE, state, state + (1 << JOINED_SHIFT)) != state:
        return -1
    state += 1 << JOINED_SHIFT
    while True:
        # Until this worker leaves, the operation is under way and its program is in place.
        number = _number(state)
        position = (number - load_i64(control + CONTROL_FIRST)) & NUMBER_MASK
        row = load_i64(control + CONTROL_PROGRAM) + position * (8 * ROW_FIELDS)
        step = load_i64(control + CONTROL_PROGRAM + 16)
        _prepare(worker, index, workers, row, step, state)
        call_kernel(field(row, 0), row, step, worker)
        if _joined(state) == 1:
            _note_chunks(control, position, worker)
        state = atomic_load(control + CONTROL_STATE)
        while True:
            is_last = _joined(state) == _left(state) + 1
            following = state + 1
            if is_last:
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
    _note_time(control, number)
    store_release(control + CONTROL_STATE, _beginning(number))


@numba.njit(inline="always")
def _is_for_me(state, last):
    """Whether a worker that left the operation `last` may join that of `state`."""
    return _number(state) != last and _joined(state) < _limit(state)


@numba.njit(inline="always")
def _fetch_on(worker, fetched):
    """Fetch some lines of what this worker reads next, behind the bytes that are fetched already; how many are now."""
    following = field(worker, WORKER_NEXT)
    if following == 0 or fetched >= FETCHED_AHEAD:
        return fetched
    for line in range(LINES_AT_ONCE):
        fetch_into_second_cache(following + fetched + LINE_BYTES * line)
    return fetched + LINE_BYTES * LINES_AT_ONCE


@kernel(arguments=("int64", "int64", "int64", "int64"), result="int64")
def lead(control, worker, workers, spins_before_yield):
    """Take part as worker 0 in the walk under way, if any, until it has ended; 0 when it was stopped, 1 otherwise."""
    last, spins, fetched = -1, 0, 0
    state = atomic_load(control + CONTROL_STATE)
    while _joined(state) != ENDED:
        if not _is_for_me(state, last):
            fetched = _fetch_on(worker, fetched)
            spin_pause()
            spins += 1
            if spins > spins_before_yield:
                yield_thread()
        else:
            before = field(worker, WORKER_NEXT)
            left = _take_part(control, worker, 0, workers, state)
            if left >= 0:
                last, spins = left, 0
                if field(worker, WORKER_NEXT) != before:
                    fetched = 0
        state = atomic_load(control + CONTROL_STATE)
    return 1 - _left(state)


@kernel(arguments=("int64", "int64", "int64", "int64", "int64", "int64"))
def follow(control, worker, index, workers, spins_before_yield, patience):
    """Take part in walks, until none came for `patience` turns of the spin loop, or at shutdown."""
    last, spins, fetched = -1, 0, 0
    while True:
        state = atomic_load(control + CONTROL_STATE)
        if _joined(state) == ENDED:
            if last >= 0:
                last, spins = -1, 0  # patience begins when a walk ends, however long this worker waited in it
            elif spins >= patience or load_i64(control + CONTROL_SHUTDOWN) != 0:
                return
        elif _is_for_me(state, last):
            before = field(worker, WORKER_NEXT)
            left = _take_part(control, worker, index, workers, state)
            if left >= 0:
                last, spins = left, 0
                if field(worker, WORKER_NEXT) != before:
                    fetched = 0
            continue
        fetched = _fetch_on(worker, fetched)
        spin_pause()
        spins += 1
        if spins > spins_before_yield:
            yield_thread()
