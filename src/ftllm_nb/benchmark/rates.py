"""How fast threads that start together get work done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Work = Callable[[], float]
"""Does one piece of work, best of 0.1 to 10 ms with the interpreter lock released; returns its amount."""


def best_rates(
    threads: int, make_works: Callable[[int], list[Work]], seconds: float, repetitions: int
) -> list[float]:
    """The best rate (amount a second, all threads together) of each kind of work.

    Each of `threads` new threads calls `make_works(its number)`, so that memory made there is first touched
    by the thread that will read it, and gets one work of each kind. The kinds are then done in turn,
    `repetitions` times, each by all threads at once for `seconds`. A rate counts from the first thread's
    start to the last one's end.

    The best rate is taken, not the median: what others do on the machine only ever makes a repetition slower,
    so the fastest one is nearest to the machine's limit, and a share of it flatters nobody.
    """
    barrier = threading.Barrier(threads)

    def run(number: int) -> list[list[tuple[float, float, float]]]:
        try:
            works = make_works(number)
            spans: list[list[tuple[float, float, float]]] = [[] for _ in works]
            for _ in range(repetitions):
                for work, spans_of_work in zip(works, spans, strict=True):
                    barrier.wait()
                    spans_of_work.append(repeat_work(work, seconds))
            return spans
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(threads, thread_name_prefix="ftllm-nb-limits") as pool:
        running = [pool.submit(run, number) for number in range(threads)]
    failures = [error for error in (future.exception() for future in running) if error is not None]
    if failures:
        # The others broke off at the barrier because of the one that failed.
        raise next((e for e in failures if not isinstance(e, threading.BrokenBarrierError)), failures[0])
    results = [future.result() for future in running]
    return [
        max(
            combined_rate([result[kind][repetition] for result in results])
            for repetition in range(repetitions)
        )
        for kind in range(len(results[0]))
    ]


def repeat_work(work: Work, seconds: float) -> tuple[float, float, float]:
    """Do `work` for at least `seconds`: (start, end, amount done), times from `time.perf_counter`."""
    start = time.perf_counter()
    amount = 0.0
    while True:
        amount += work()
        end = time.perf_counter()
        if end - start >= seconds:
            return start, end, amount


def combined_rate(spans: list[tuple[float, float, float]]) -> float:
    """Amount a second of (start, end, amount) spans that ran side by side."""
    begin = min(start for start, _, _ in spans)
    finish = max(end for _, end, _ in spans)
    return sum(amount for _, _, amount in spans) / (finish - begin)
