"""Rates of threads that start together: what is counted, and what happens when one of them fails."""

from __future__ import annotations

import threading

import pytest

from ftllm_nb.benchmark.rates import best_rates, combined_rate, repeat_work


def test_a_rate_counts_from_the_first_start_to_the_last_end() -> None:
    assert combined_rate([(10.0, 12.0, 6.0), (11.0, 14.0, 2.0)]) == 2.0


class Clock:
    """Time that passes only while somebody works."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("ftllm_nb.benchmark.rates.time", clock)
    return clock


def test_work_is_repeated_until_the_time_is_over(clock: Clock) -> None:
    def work() -> float:
        clock.now += 4.0
        return 2.5

    assert repeat_work(work, 10.0) == (100.0, 112.0, 3 * 2.5)
    assert repeat_work(work, 12.0) == (112.0, 124.0, 3 * 2.5)


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


def test_the_best_repetition_of_each_kind_counts(clock: Clock) -> None:
    durations = iter([4.0, 5.0, 2.0, 8.0, 16.0, 10.0])

    def work() -> float:
        clock.now += next(durations)
        return 20.0

    # The kinds take turns: 4, 2, 16 s are the first one's, 5, 8, 10 s the second one's.
    assert best_rates(1, lambda _: [work, work], 0.0, 3) == [20.0 / 2.0, 20.0 / 5.0]


def test_a_failing_thread_ends_the_others_and_its_error_is_raised() -> None:
    def make_works(number: int) -> list:
        if number == 1:
            raise MemoryError("no buffer")
        return [lambda: 1.0]

    with pytest.raises(MemoryError, match="no buffer"):
        best_rates(4, make_works, 0.01, 2)
