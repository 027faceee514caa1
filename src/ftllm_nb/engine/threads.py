"""The worker threads: persistent Python threads that live inside one compiled function and run programs together.

A thread spins for the next walk for a short while, then waits in Python, so that an idle engine costs no CPU.
The caller of `run` is worker 0; one thread at a time may call it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import EngineError
from ftllm_nb.host_cores import usable_cores, worker_cpus
from ftllm_nb.kernels.compile import prepare
from ftllm_nb.kernels.meeting import ENDED, JOINED_SHIFT, NUMBER_MASK, NUMBER_SHIFT
from ftllm_nb.kernels.step import (
    ROW_FIELDS,
    WORKER_COUNT,
    WORKER_COUNTERS,
    WORKER_FIELDS,
    WORKER_INDEX,
    WORKER_SCRATCH,
    WORKER_STATE,
    WORKER_STOP,
)
from ftllm_nb.kernels.walk import (
    CONTROL_CHUNKS,
    CONTROL_COUNTERS,
    CONTROL_PROGRAM,
    CONTROL_SHUTDOWN,
    CONTROL_STATE,
    CONTROL_STOP,
    CONTROL_TIMES,
    control_bytes,
    follow,
    is_walking,
    lead,
    publish,
)
from ftllm_nb.memory import aligned_bytes

WALK_KERNELS = (publish, lead, follow)
"""What workers run, whatever the program."""
SPINS_BEFORE_YIELD = 4000
"""Turns of the spin loop (about 0.2 ms) before a waiting worker offers its core to other threads at each turn.

Another program that computes would keep the core for a time slice, milliseconds, and most waits are far shorter."""
CROWDED_SPINS_BEFORE_YIELD = 200
"""The same where there are more workers than cores: whom a worker waits for may need the very core."""
PATIENCE_TURNS = 3000
"""Further turns (about a millisecond) before a worker without work waits in Python."""


class ThreadPool:
    """`num_workers` threads, the caller of `run` included, that walk programs.

    `scratch_bytes`: private memory of each worker, given to kernels. `pin`: each worker stays on one core, where the
    system allows it, the caller of `run` only while it is in there.
    """

    def __init__(self, num_workers: int, scratch_bytes: int = 1 << 20, pin: bool = False) -> None:
        self.num_workers = num_workers
        self._cpus = worker_cpus(num_workers) if pin else None
        self._control = aligned_bytes(control_bytes(num_workers))
        self._words = self._control.view(np.int64)
        self._words[CONTROL_STATE // 8] = ENDED << JOINED_SHIFT
        self._spins = SPINS_BEFORE_YIELD if num_workers <= usable_cores() else CROWDED_SPINS_BEFORE_YIELD
        self._scratch_stride = (scratch_bytes + 4095) // 4096 * 4096 + 64
        self._scratch = aligned_bytes(self._scratch_stride * num_workers)
        self._contexts = aligned_bytes(8 * WORKER_FIELDS * num_workers).view(np.int64).reshape(num_workers, -1)
        control = self._control.ctypes.data
        for index, context in enumerate(self._contexts):
            context[WORKER_INDEX] = index
            context[WORKER_COUNT] = num_workers
            context[WORKER_STOP] = control + CONTROL_STOP
            context[WORKER_STATE] = control + CONTROL_STATE
            context[WORKER_COUNTERS] = control + CONTROL_COUNTERS
            context[WORKER_SCRATCH] = self._scratch.ctypes.data + index * self._scratch_stride
        self._closed = False
        self._forked = False
        prepare(WALK_KERNELS)
        self._start_threads()
        _POOLS.add(self)

    def _start_threads(self) -> None:
        self._parking = threading.Lock()
        self._parked: set[int] = set()
        self._wake = [threading.Semaphore(0) for _ in range(self.num_workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(index,), name=f"ftllm-nb-{index}", daemon=True)
            for index in range(1, self.num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, index: int) -> None:
        if self._cpus is not None:
            _move_to({self._cpus[index]})
        control = self._control.ctypes.data
        context = int(self._contexts[index].ctypes.data)
        while True:
            follow(control, context, index, self.num_workers, self._spins, self._spins + PATIENCE_TURNS)
            # Parking looks for a walk, and `_publish` begins one and looks at who is parked, both under one lock: so
            # either this thread sees the walk or the publisher sees this thread.
            with self._parking:
                if self._words[CONTROL_SHUTDOWN // 8]:
                    return
                if self._is_walking():
                    continue
                self._parked.add(index)
            self._wake[index].acquire()

    def _is_walking(self) -> bool:
        return is_walking(int(self._words[CONTROL_STATE // 8]))

    def _publish(self) -> None:
        with self._parking:
            publish(self._control.ctypes.data, self.num_workers)
            parked, self._parked = self._parked, set()
        for index in parked:
            self._wake[index].release()

    def run(self, rows: NDArray[np.int64], step: NDArray[np.int64]) -> bool:
        """Walk a program: int64 [ops, ROW_FIELDS], with a step's header. False when it was stopped before its end."""
        if self._closed:
            raise EngineError("the engine is closed; load the model again")
        if rows.ndim != 2 or rows.shape[1] != ROW_FIELDS or not rows.flags.c_contiguous:
            raise ValueError(f"a program is a contiguous int64 [ops, {ROW_FIELDS}], not {rows.shape}")
        if len(rows) == 0:
            return True
        if self._forked:
            self._revive()
        at = CONTROL_PROGRAM // 8
        self._words[at : at + 3] = (rows.ctypes.data, len(rows), step.ctypes.data)
        with self._on_own_core():
            try:
                self._publish()
                return self._lead()
            except BaseException:
                self._lead_if_published()
                raise

    def _lead(self) -> bool:
        context = int(self._contexts[0].ctypes.data)
        return bool(lead(self._control.ctypes.data, context, self.num_workers, self._spins))

    def _lead_if_published(self) -> None:
        """Ctrl-C came between publishing and leading: the others are at work in the caller's memory."""
        for wake in self._wake:
            wake.release()  # one that parked may not have been woken; another one looks once more and parks
        self._lead()

    @contextmanager
    def _on_own_core(self) -> Iterator[None]:
        """Keep the calling thread on worker 0's core: what threads and processes it starts elsewhere must not inherit
        that."""
        if self._cpus is None:
            yield
            return
        before = os.sched_getaffinity(0)
        _move_to({self._cpus[0]})
        try:
            yield
        finally:
            _move_to(before)

    def note_times(self, times: NDArray[np.int64] | None, chunks: NDArray[np.int64] | None) -> None:
        """Let time stamps of the walks that follow be written into int64 [operations + 1], and numbers of chunks into
        int64 [operations], or no longer."""
        self._words[CONTROL_TIMES // 8] = 0 if times is None else times.ctypes.data
        self._words[CONTROL_CHUNKS // 8] = 0 if chunks is None else chunks.ctypes.data

    def _revive(self) -> None:
        """Start threads in a forked child, where the parent's do not exist."""
        self._forked = False
        number = (int(self._words[CONTROL_STATE // 8]) >> NUMBER_SHIFT) + 1 & NUMBER_MASK
        self._words.view(np.uint64)[CONTROL_STATE // 8] = number << NUMBER_SHIFT | ENDED << JOINED_SHIFT
        self._start_threads()

    def request_stop(self) -> None:
        """Make the running walk, and any that follow, end early, until `clear_stop`."""
        self._words[CONTROL_STOP // 8] = 1

    def clear_stop(self) -> None:
        """Allow walks again."""
        self._words[CONTROL_STOP // 8] = 0

    def close(self) -> None:
        """End the threads; no walk may be running."""
        if self._closed:
            return
        self._closed = True
        if self._forked:
            return
        with self._parking:
            self._words[CONTROL_SHUTDOWN // 8] = 1
        for wake in self._wake:
            wake.release()
        for thread in self._threads:
            thread.join()


def _move_to(cpus: set[int]) -> None:
    """Let the calling thread run on these CPUs alone, if it still may."""
    with suppress(OSError):
        os.sched_setaffinity(0, cpus)


_POOLS: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


def _mark_forked() -> None:
    for pool in _POOLS:
        pool._forked = True


def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)
atexit.register(_close_all)
