"""When an answer counts as a loop, and what is none."""

from __future__ import annotations

import random

import pytest

from ftllm_nb.engine.loops import LONGEST_RUN, LOOP_TOKENS, is_loop


def tokens_until_loop(tokens: list[int]) -> int | None:
    return next((count for count in range(len(tokens) + 1) if is_loop(tokens[:count])), None)


@pytest.mark.parametrize("size", [1, 2, 7, LONGEST_RUN])
def test_a_run_that_fills_the_end_is_a_loop(size: int) -> None:
    before = [100 + number for number in range(40)]
    run = list(range(size))
    assert tokens_until_loop(before + run * 200) == len(before) + LOOP_TOKENS


def test_a_run_may_hold_the_same_token_twice() -> None:
    assert tokens_until_loop([1, 1, 2] * 100) == LOOP_TOKENS


def test_what_goes_on_is_no_loop() -> None:
    rng = random.Random(0)
    assert tokens_until_loop([rng.randrange(3) for _ in range(600)]) is None
    counting = [token for number in range(100) for token in (1, 2, 3, 10 + number)]
    assert tokens_until_loop(counting) is None
    assert tokens_until_loop(list(range(LONGEST_RUN + 1)) * 20) is None
