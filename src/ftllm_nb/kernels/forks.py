"""Work that takes long shared out to forks of this process, as many as there are cores.

Numba and LLVM hold locks of their own, so that threads that compile take turns. A fork has all that is imported, and
whatever is to be compiled with what it closes over.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import IO, NoReturn

from ftllm_nb.host_cores import usable_cores

MOST_FORKS = 8
"""Each takes some 100 MB to compile."""
SILENT_SECONDS = 300.0
"""After so long without anything that is done, forks are given up."""
_NUMBER = struct.Struct("<H")
_MOST_TASKS = 1 << 14
"""Their numbers fit a pipe."""


def done_by_forks(tasks: Sequence[Callable[[], object]], done: Callable[[int], None]) -> None:
    """Call each task in a fork, the first ones first, and `done` here with the number of each that has returned.

    Tasks may be left out: those that raised, or all of them, where there is one core or no fork is to be had. Whoever
    calls this does them himself, and meets their errors then. What a task changes in memory is lost.
    """
    forks = min(usable_cores(), MOST_FORKS, len(tasks))
    if forks < 2 or len(tasks) > _MOST_TASKS or sys.platform != "linux":  # elsewhere system libraries may not be forked
        return
    with contextlib.ExitStack() as undo, contextlib.suppress(OSError):
        numbers, to_write = _pipe(undo)
        finished, to_report = _pipe(undo)
        to_write.write(b"".join(map(_NUMBER.pack, range(len(tasks)))))
        to_write.close()  # so that they end when there is nothing left
        for _ in range(forks):
            fork = _fork()
            if fork == 0:
                _work(tasks, numbers, to_report)
            undo.callback(_end, fork)
        to_report.close()
        _listen(finished, len(tasks), done)


def _pipe(undo: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return undo.enter_context(open(read, "rb", 0)), undo.enter_context(open(write, "wb", 0))


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other threads may hold locks, of which tasks need none
        return os.fork()


def _work(tasks: Sequence[Callable[[], object]], numbers: IO[bytes], to_report: IO[bytes]) -> NoReturn:
    """What a fork does, and no more than that: what this process does at its end is not its matter."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process, which ends its forks
        while number := numbers.read(_NUMBER.size):
            with contextlib.suppress(Exception):
                tasks[_NUMBER.unpack(number)[0]]()
                to_report.write(number)
    finally:
        os._exit(0)


def _listen(finished: IO[bytes], tasks: int, done: Callable[[int], None]) -> None:
    poll = select.poll()
    poll.register(finished, select.POLLIN)
    while tasks and poll.poll(1000 * SILENT_SECONDS):
        reports = finished.read(_NUMBER.size)
        if not reports:
            return  # all have ended
        done(_NUMBER.unpack(reports)[0])
        tasks -= 1


def _end(fork: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(fork, signal.SIGKILL)
        os.waitpid(fork, 0)
