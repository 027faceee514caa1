"""The machine's limits: plausible, repeatable, and compared before and after."""

from __future__ import annotations

import pytest

from ftllm_nb.benchmark.limits import (
    MAX_READ_BYTES,
    READ_PIECE_BYTES,
    MachineLimits,
    has_drifted,
    mean_limits,
    measure_limits,
    reading_works,
)
from ftllm_nb.benchmark.vector_loops import DOT, READ_BLOCK, READ_STREAMS


def limits(read: float, fma: float, dot: float | None) -> MachineLimits:
    return MachineLimits(2, 10**9, read, fma, dot)


def test_limits_are_plausible_and_much_the_same_twice() -> None:
    first, second = (measure_limits(1, 32 * 2**20, seconds=0.02, repetitions=3) for _ in range(2))
    for one, other in (
        (first.read_gb_per_s, second.read_gb_per_s),
        (first.fma_gflop_per_s, second.fma_gflop_per_s),
    ):
        assert one > 0.5
        # Other programs may take their share of the machine meanwhile.
        assert 1 / 4 < one / other < 4
    assert (first.dot_gop_per_s is None) == (DOT is None)
    if first.dot_gop_per_s is not None:
        assert first.dot_gop_per_s > first.fma_gflop_per_s / 4
    assert (first.threads, first.read_bytes) == (1, 32 * 2**20)


def test_a_buffer_is_no_larger_than_what_no_cache_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []

    def no_reading(part_bytes: int) -> list:
        parts.append(part_bytes)
        return [lambda: 1.0]

    monkeypatch.setattr("ftllm_nb.benchmark.limits.reading_works", no_reading)
    found = measure_limits(2, 10**15, seconds=0.0, repetitions=1)
    assert found.read_bytes == MAX_READ_BYTES
    assert parts == [MAX_READ_BYTES // 2] * 2


@pytest.mark.parametrize(
    "part_bytes", [0, 1, READ_STREAMS * READ_BLOCK, 3 * READ_PIECE_BYTES // 2, 2 * READ_PIECE_BYTES + 12345]
)
def test_reading_goes_through_the_whole_part_in_pieces(
    part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int, int]] = []
    monkeypatch.setattr(
        "ftllm_nb.benchmark.vector_loops.read_plain", lambda *arguments: read.append(arguments) or 0
    )
    work = reading_works(part_bytes)[0]
    amounts = [work()]
    while len(set(read)) == len(read):
        amounts.append(work())
    *once, again = read
    assert again == once[0], "it goes in a circle"
    stream_bytes, passes = once[0][1:]
    pieces = [address - once[0][0] for address, _, _ in once]
    piece_bytes = READ_STREAMS * stream_bytes
    assert pieces == [number * piece_bytes for number in range(len(pieces))]
    smallest = READ_STREAMS * READ_BLOCK
    assert piece_bytes * len(pieces) >= part_bytes - len(pieces) * smallest
    assert stream_bytes % READ_BLOCK == 0 and once[0][0] % 64 == 0
    assert set(amounts) == {passes * piece_bytes}
    assert passes * piece_bytes > READ_PIECE_BYTES // 2, "a call does enough to cost little itself"


def test_the_mean_of_two_measurements_holds_for_what_ran_between() -> None:
    assert mean_limits(limits(10, 100, 400), limits(20, 200, 200)) == limits(15, 150, 300)
    assert mean_limits(limits(10, 100, None), limits(20, 200, None)).dot_gop_per_s is None


@pytest.mark.parametrize(
    "before, after, drifted",
    [(100, 109, False), (109, 100, False), (100, 111, True), (111, 100, True), (None, None, False)],
)
def test_a_limit_that_changed_by_more_than_a_tenth_has_drifted(
    before: float | None, after: float | None, drifted: bool
) -> None:
    assert has_drifted(before, after) is drifted
