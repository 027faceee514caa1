"""The workers: every chunk is done once whatever their number, they stay where they are pinned, they stop and wake."""

from __future__ import annotations

import faulthandler
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine import threads
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.errors import EngineError
from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.meeting import JOIN_BYTES
from ftllm_nb.kernels.memory import load_i64, read_counter, store_i64
from ftllm_nb.kernels.step import (
    ROW_CHUNK_BYTES,
    ROW_FIELDS,
    STEP_FIELDS,
    STEP_TOKENS,
    WORKER_INDEX,
    argument,
    field,
    take_chunk,
)
from tests.timing import least_seconds

CHUNKS = 1000
can_pin = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no threads")


@kernel()
def count_chunks(row, step, worker):  # type: ignore[no-untyped-def]
    """Adds 1 at each chunk's place and notes who did it, after `argument 2` turns of some 10 ns."""
    chunk = take_chunk(worker, CHUNKS)
    while chunk >= 0:
        place = argument(row, 0) + 8 * chunk
        for _ in range(argument(row, 2)):
            read_counter()  # not to be optimized away
        store_i64(place, load_i64(place) + 1)
        store_i64(argument(row, 1) + 8 * chunk, field(worker, WORKER_INDEX))
        chunk = take_chunk(worker, CHUNKS)


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """Workers that wait for each other hold no lock of the interpreter, and nothing else would end the test."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Work:
    """A program of `operations` passes over the chunks."""

    def __init__(self, operations: int = 1, turns: int = 0) -> None:
        self.counts, self.workers = np.zeros(CHUNKS, np.int64), np.full(CHUNKS, -1, np.int64)
        self.rows = np.zeros((operations, ROW_FIELDS), np.int64)
        self.rows[:, :4] = count_chunks.address, self.counts.ctypes.data, self.workers.ctypes.data, turns
        self.step = np.zeros(STEP_FIELDS, np.int64)

    def run(self, pool: ThreadPool) -> bool:
        return pool.run(self.rows, self.step)


@contextmanager
def opened(workers: int, pin: bool = False) -> Iterator[ThreadPool]:
    pool = ThreadPool(workers, pin=pin)
    try:
        yield pool
    finally:
        pool.close()


@pytest.mark.parametrize("workers", [1, 2, 3, 65, 130])
@pytest.mark.parametrize("pin", [False, True])
def test_every_chunk_of_every_operation_is_done_once(workers: int, pin: bool) -> None:
    work = Work(operations=20)
    with opened(workers, pin) as pool:
        for _ in range(3):
            assert work.run(pool)
    assert (work.counts == 60).all()
    assert 0 <= work.workers.min() and work.workers.max() < workers


@pytest.mark.parametrize("workers", [2, 4, 8, 16, 64])
@pytest.mark.parametrize("worth", [1, 2, 5])
def test_no_more_workers_join_than_an_operation_is_worth(workers: int, worth: int) -> None:
    """Long chunks that are said to be short: whoever may comes, whoever may not finds no chunk."""
    work = Work(operations=1, turns=200)
    work.rows[:, ROW_CHUNK_BYTES] = worth * (worth - 1) * JOIN_BYTES // CHUNKS + 1
    seen = set()
    with opened(workers) as pool:
        for _ in range(10):
            assert work.run(pool)
            seen.add(len(set(work.workers)))
    assert (work.counts == 10).all()
    assert max(seen) <= min(worth, workers)
    if worth == 1:
        assert seen == {1}


def test_workers_come_where_an_operation_is_worth_them() -> None:
    work, seen = Work(operations=1, turns=200), 0
    work.rows[:, ROW_CHUNK_BYTES] = JOIN_BYTES
    with opened(2) as pool:
        for _ in range(1000):
            assert work.run(pool)
            seen = max(seen, len(set(work.workers)))
            if seen == 2:
                break
    assert seen == 2


def test_a_chunk_of_many_tokens_is_worth_more() -> None:
    work, seen = Work(operations=1, turns=200), 0
    work.rows[:, ROW_CHUNK_BYTES], work.step[STEP_TOKENS] = 2 * JOIN_BYTES // CHUNKS // 4, 96
    with opened(2) as pool:
        for _ in range(1000):
            assert work.run(pool)
            seen = max(seen, len(set(work.workers)))
            if seen == 2:
                break
    assert seen == 2


def test_a_worker_that_gets_no_core_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has joined no operation: the others do all of it, and it takes part as soon as it comes."""
    begin, may_begin = ThreadPool._work, threading.Event()

    def late(pool: ThreadPool, index: int) -> None:
        if index == 2:
            may_begin.wait()
        begin(pool, index)

    monkeypatch.setattr(ThreadPool, "_work", late)
    work = Work(operations=20, turns=20)
    with opened(3) as pool:
        try:
            assert work.run(pool) and work.run(pool)
            assert set(work.workers) <= {0, 1}
        finally:
            may_begin.set()
        while 2 not in work.workers:
            assert work.run(pool)
    assert len(set(work.counts)) == 1


def test_workers_that_parked_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PATIENCE_TURNS", 1)
    work = Work()
    with opened(4) as pool:
        for _ in range(20):
            time.sleep(0.002)
            assert work.run(pool)
    assert (work.counts == 20).all()


@pytest.mark.parametrize("workers", [2, 5])
def test_no_wake_up_is_lost_in_many_thousand_rounds(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Workers give up at once and park while walks are published: each walk meets them on their way somewhere."""
    monkeypatch.setattr(threads, "PATIENCE_TURNS", 1)
    work, rounds = Work(), 4000
    with opened(workers) as pool:
        for _ in range(rounds):
            assert work.run(pool)
    assert (work.counts == rounds).all()


def test_workers_that_are_slow_to_start_miss_no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ThreadPool._work

    def late(pool: ThreadPool, *arguments: int) -> None:
        time.sleep(0.05)
        begin(pool, *arguments)

    monkeypatch.setattr(ThreadPool, "_work", late)
    work = Work(operations=3)
    with opened(3) as pool:
        assert work.run(pool)
    assert (work.counts == 3).all()


@pytest.mark.parametrize("patience", [1, 1 << 40])
@pytest.mark.parametrize("name", ["publish", "lead"])
@pytest.mark.parametrize("before", [True, False])
def test_ctrl_c_at_any_time_leaves_the_workers_alive(
    monkeypatch: pytest.MonkeyPatch, patience: int, name: str, before: bool
) -> None:
    """Just before or just after a walk is published or led, with workers that parked or that spin."""
    monkeypatch.setattr(threads, "PATIENCE_TURNS", patience)
    call = getattr(threads, name)

    def interrupted(*arguments: int) -> int:
        monkeypatch.setattr(threads, name, call)
        if not before:
            call(*arguments)
        raise KeyboardInterrupt

    work = Work(operations=3)
    with opened(3) as pool:
        assert work.run(pool)
        time.sleep(0.01)
        monkeypatch.setattr(threads, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            work.run(pool)
        was_published = not (name == "publish" and before)
        assert (work.counts == (6 if was_published else 3)).all(), "a walk is run whole, or not at all"
        assert work.run(pool)
    assert (work.counts == (9 if was_published else 6)).all()


def test_a_stop_is_heard_within_a_chunk() -> None:
    """Work of seconds ends as soon as the chunks at work do, and the rest of it is left."""
    work = Work(operations=1000, turns=1000)
    with opened(2) as pool:

        def seconds() -> float:
            work.counts[:] = 0
            timer = threading.Timer(0.05, pool.request_stop)
            timer.start()
            started = time.perf_counter()
            assert not work.run(pool)
            taken = time.perf_counter() - started
            timer.join()
            pool.clear_stop()
            assert 0 < work.counts.sum() < 1000 * CHUNKS
            return taken

        assert least_seconds(seconds, 0.5) <= 0.5
        assert Work().run(pool)


def test_idle_workers_use_no_cpu() -> None:
    with opened(4) as pool:
        assert Work().run(pool)
        time.sleep(0.1)

        def seconds() -> float:
            before = time.process_time()
            time.sleep(0.5)
            return time.process_time() - before

        assert least_seconds(seconds, 0.05) <= 0.05


def test_two_pools_run_at_once_from_two_threads() -> None:
    works = [Work(operations=30) for _ in range(2)]
    with opened(3) as first, opened(2) as second:
        callers = [
            threading.Thread(target=lambda pool=pool, work=work: [work.run(pool) for _ in range(20)])
            for pool, work in zip((first, second), works, strict=True)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert all((work.counts == 600).all() for work in works)


LIVE_POOLS = """
import sys, threading, time
import numpy as np
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS
from tests.engine.test_threads import Work

pools = [ThreadPool(4) for _ in range(3)]
works = [Work(operations=400) for _ in pools]
for pool, work in zip(pools, works):
    assert work.run(pool)

def walk():
    while True:
        works[0].run(pools[0])

if "busy" in sys.argv:
    threading.Thread(target=walk, daemon=True).start()
    time.sleep(0.1)
print("end")
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_the_interpreter_ends_with_live_pools(state: str) -> None:
    """Also while a daemon thread walks."""
    done = subprocess.run([sys.executable, "-c", LIVE_POOLS, state], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


FORKED = """
import os, threading, time
from ftllm_nb.engine.threads import ThreadPool
from tests.engine.test_threads import Work

pool, work = ThreadPool(3), Work(operations=5)
assert work.run(pool)

def child_status(depth):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    before = work.counts.sum()
    right = work.run(pool) and work.run(pool) and work.counts.sum() == before + 10_000
    right = right and (depth == 0 or child_status(depth - 1) == 0)
    pool.close()
    os._exit(0 if right else 1)

print(child_status(2), work.run(pool), int(work.counts.min()), int(work.counts.max()))

stop = threading.Event()
busy = Work(operations=50)
walker = threading.Thread(target=lambda: [busy.run(pool) for _ in iter(stop.is_set, True)])
walker.start()
print([child_status(0) for _ in range(10)], flush=True)
stop.set()
walker.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_child_and_parent_go_on() -> None:
    """Children of children as well, and children that are born while another thread is in a walk."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"0 True 10 10\n{[0] * 10}\n", done.stderr


@can_pin
def test_pinned_workers_stay_on_their_cores_and_the_caller_is_free_again() -> None:
    before = os.sched_getaffinity(0)
    with opened(3, pin=True) as pool:
        assert Work().run(pool)
        assert os.sched_getaffinity(0) == before
        places = [os.sched_getaffinity(thread.native_id or 0) for thread in pool._threads]
    assert all(len(place) == 1 for place in places)
    assert set().union(*places) == set(sorted(before)[:3])


@can_pin
def test_the_caller_is_on_the_first_core_during_a_walk() -> None:
    seen: list[set[int]] = []
    caller = threading.get_native_id()
    work = Work(operations=50, turns=3)
    with opened(2, pin=True) as pool:
        watcher = threading.Thread(target=lambda: seen.extend(os.sched_getaffinity(caller) for _ in _until(finished)))
        finished = threading.Event()
        watcher.start()
        for _ in range(5):
            work.run(pool)
        finished.set()
        watcher.join()
    assert {min(os.sched_getaffinity(0))} in seen


def _until(finished: threading.Event) -> Iterator[None]:
    while not finished.is_set():
        time.sleep(0.0005)
        yield


def test_without_the_system_s_help_nothing_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    work = Work()
    with opened(2, pin=True) as pool:
        assert work.run(pool)
    assert (work.counts == 1).all()


def test_a_stop_ends_walks_until_it_is_cleared() -> None:
    work = Work(operations=5)
    with opened(2) as pool:
        pool.request_stop()
        assert not work.run(pool)
        assert not work.run(pool)
        assert work.counts.sum() == 0
        pool.clear_stop()
        assert work.run(pool)
    assert (work.counts == 5).all()


def test_a_closed_pool_says_so_and_closes_again() -> None:
    with opened(2) as pool:
        pool.close()
        with pytest.raises(EngineError, match="the engine is closed"):
            Work().run(pool)


@pytest.mark.parametrize("rows", [np.zeros((2, 3), np.int64), np.zeros(ROW_FIELDS, np.int64)])
def test_what_is_no_program(rows: NDArray[np.int64]) -> None:
    with opened(1) as pool, pytest.raises(ValueError, match="a program is a contiguous int64"):
        pool.run(rows, np.zeros(STEP_FIELDS, np.int64))


def test_times_and_chunks_are_noted_of_every_operation_while_asked_for() -> None:
    work, times, chunks = Work(operations=50), np.zeros(52, np.int64), np.zeros(51, np.int64)
    with opened(3) as pool:
        pool.note_times(times[:51], chunks[:50])
        assert work.run(pool)
        assert (times[:51] > 0).all() and times[51] == 0
        assert times[50] > times[0]
        assert (chunks[:50] == CHUNKS).all() and chunks[50] == 0
        pool.note_times(None, None)
        times[:] = chunks[:] = 0
        assert work.run(pool)
        assert not times.any() and not chunks.any()


@pytest.mark.slow
@can_pin
def test_a_busy_neighbour_slows_in_proportion() -> None:
    """Another process on one of two cores takes half of it: operations of a prefill's length take twice as long, and
    not ten times."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("one core")
    work = Work(operations=8, turns=100)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with opened(2) as pool:
            alone = median_seconds(work, pool)
            spin = f"import os\nos.sched_setaffinity(0, {{{cores[1]}}})\nwhile True: pass"
            neighbour = subprocess.Popen([sys.executable, "-c", spin])
            try:
                time.sleep(0.5)
                beside = median_seconds(work, pool)
            finally:
                neighbour.kill()
                neighbour.wait()
    finally:
        os.sched_setaffinity(0, before)
    print(f"{alone * 1e3:.1f} ms alone, {beside * 1e3:.1f} ms beside a busy neighbour")
    assert beside < 4 * alone


def median_seconds(work: Work, pool: ThreadPool) -> float:
    seconds = []
    for _ in range(15):
        started = time.perf_counter()
        work.run(pool)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
