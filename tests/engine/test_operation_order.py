"""Operations of a walk, one after another: each begins when all of the one before is done, whoever took part in it."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import atomic_add, atomic_load, read_counter
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, argument, take_chunk

(BEFORE, BEFORE_CHUNKS, DONE, CHUNKS, EARLY, TURNS) = range(6)
"""Arguments of `look_back`'s rows: how many chunks of the operation before are done, and should be; how many of this
one are, of how many; how often it was too early; how long a chunk takes."""


@kernel()
def look_back(row, step, worker):  # type: ignore[no-untyped-def]
    """Counts the chunks of this operation, and those that ran when some of the operation before were left."""
    num_chunks = argument(row, CHUNKS)
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        if atomic_load(argument(row, BEFORE)) != argument(row, BEFORE_CHUNKS):
            atomic_add(argument(row, EARLY), 1)
        for _ in range(argument(row, TURNS) * (chunk & 3)):
            read_counter()
        atomic_add(argument(row, DONE) + 8 + 8 * chunk, 1)
        atomic_add(argument(row, DONE), 1)
        chunk = take_chunk(worker, num_chunks)


MOST_CHUNKS = 7


class Chain:
    """A program whose operations have `chunks` chunks in turn, and look at the one before."""

    def __init__(self, operations: int, chunks: tuple[int, ...], turns: int) -> None:
        self.chunks = np.array([chunks[number % len(chunks)] for number in range(operations)])
        self.done = np.zeros((operations + 1, 1 + MOST_CHUNKS), np.int64)
        self.early = np.zeros(1, np.int64)
        self.rows = np.zeros((operations, ROW_FIELDS), np.int64)
        self.rows[:, 0] = look_back.address
        places = self.done.ctypes.data + self.done.strides[0] * np.arange(operations + 1)
        fields = {BEFORE: places[:-1], DONE: places[1:], CHUNKS: self.chunks}
        fields |= {EARLY: self.early.ctypes.data, TURNS: turns}
        for index, values in fields.items():
            self.rows[:, 1 + index] = values
        self.rows[1:, 1 + BEFORE_CHUNKS] = self.chunks[:-1]

    def check(self) -> None:
        assert self.early[0] == 0, "chunks ran before the operation before them was done"
        assert (self.done[1:, 0] == self.chunks).all()
        once = np.arange(MOST_CHUNKS) < self.chunks[:, None]
        assert (self.done[1:, 1:] == once).all(), "a chunk was left out, or done twice"


@contextmanager
def opened(workers: int) -> Iterator[ThreadPool]:
    pool = ThreadPool(workers)
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize(("workers", "operations"), [(1, 2000), (2, 20000), (3, 5000), (5, 3000), (40, 400)])
@pytest.mark.parametrize("chunks", [(1,), (3, 1, 7, 2)])
@pytest.mark.parametrize("turns", [0, 30])
def test_no_chunk_runs_before_the_operation_before_is_done(
    workers: int, operations: int, chunks: tuple[int, ...], turns: int
) -> None:
    """Tiny operations, with fewer and with more chunks than workers, on more workers than there are cores."""
    chain = Chain(operations, chunks, turns)
    with opened(workers) as pool:
        assert pool.run(chain.rows, np.zeros(STEP_FIELDS, np.int64))
    chain.check()


@pytest.mark.parametrize("workers", [2, 6])
def test_no_worker_is_in_a_walk_that_has_ended(workers: int) -> None:
    """A worker that comes late finds the next walk: the rows of the one before lead nowhere by then."""
    step = np.zeros(STEP_FIELDS, np.int64)
    with opened(workers) as pool:
        for number in range(1500):
            chain = Chain(1 + number % 3, (1, 2), 0)
            assert pool.run(chain.rows, step)
            chain.rows[:] = 0
            chain.check()
