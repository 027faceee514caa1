"""How many workers an operation is worth: as many as make it shortest."""

from __future__ import annotations

import pytest

from ftllm_nb.kernels.meeting import JOIN_BYTES, workers_worth


def bytes_until_done(chunks: int, chunk_bytes: int, workers: int) -> float:
    """What an operation takes, as bytes that one core reads meanwhile, if chunks could be cut at will."""
    return chunks * chunk_bytes / workers + (workers - 1) * JOIN_BYTES


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 16, 64, 1024])
@pytest.mark.parametrize("chunk_bytes", [1, 900, 9_999, 20_000, 33_000, 1_000_003])
def test_no_other_number_of_workers_is_faster(workers: int, chunk_bytes: int) -> None:
    for chunks in (1, 2, 5, 14, 152, 2374):
        found = workers_worth(chunks, chunk_bytes, workers)
        assert 1 <= found <= min(chunks, workers)
        others = range(1, min(chunks, workers) + 1)
        assert bytes_until_done(chunks, chunk_bytes, found) <= 1.000001 * min(
            bytes_until_done(chunks, chunk_bytes, other) for other in others
        )


def test_of_equals_the_most_join() -> None:
    assert workers_worth(10, 2 * JOIN_BYTES // 10, 64) == 2
    assert workers_worth(10, 2 * JOIN_BYTES // 10 - 1, 64) == 1


@pytest.mark.parametrize("chunks", [0, 1, 3, 100])
def test_chunks_of_which_nobody_knows_how_long_they_take_are_worth_a_worker_each(chunks: int) -> None:
    assert workers_worth(chunks, 0, 8) == max(1, min(chunks, 8))
