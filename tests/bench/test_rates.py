"""Rates of threads that start together: what is counted, and what happens when one of them fails."""

from __future__ import annotations

import threading
import time

import pytest

from ftllm_nb.benchmark.rates import best_rates, combined_rate, repeat_work


def test_a_rate_counts_from_the_first_start_to_the_last_end() -> None:
    assert combined_rate([(10.0, 12.0, 6.0), (11.0, 14.0, 2.0)]) == 2.0


def test_work_is_repeated_until_the_time_is_over() -> None:
    calls = 0

    def work() -> float:
        nonlocal calls
        calls += 1
        time.sleep(0.004)
        return 2.5

    start, end, amount = repeat_work(work, 0.02)
    assert amount == 2.5 * calls
    assert 2 <= calls <= 5
    assert end - start >= 0.02


def test_work_is_done_at_least_once() -> None:
    assert repeat_work(lambda: 7.0, 0.0)[2] == 7.0


def test_every_thread_makes_its_own_works_and_all_run_together() -> None:
    makers: dict[int, int] = {}
    meeting = threading.Barrier(3, timeout=10)

    def make_works(number: int) -> list:
        makers[number] = threading.get_ident()

        def work() -> float:
            assert threading.get_ident() == makers[number]
            meeting.wait()  # breaks unless all three are at work at once
            return 1.0

        return [work]

    (rate,) = best_rates(3, make_works, 0.0, 1)
    assert rate > 0
    assert sorted(makers) == [0, 1, 2] and len(set(makers.values())) == 3


def test_the_best_repetition_of_each_kind_counts() -> None:
    pauses = iter([0.05, 0.05, 0.01, 0.05, 0.05, 0.05])

    def work(amount: float) -> float:
        time.sleep(next(pauses))
        return amount

    slow_then_fast, slow = best_rates(1, lambda _: [lambda: work(1.0), lambda: work(1.0)], 0.0, 3)
    assert slow_then_fast > 2 * slow
    assert 1 / slow >= 0.05


def test_a_failing_thread_ends_the_others_and_its_error_is_raised() -> None:
    def make_works(number: int) -> list:
        if number == 1:
            raise MemoryError("no buffer")
        return [lambda: 1.0]

    with pytest.raises(MemoryError, match="no buffer"):
        best_rates(4, make_works, 0.01, 2)
