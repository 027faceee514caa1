"""The choice of types that lose least at a number of bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ftllm_nb.quantization.allocation import Option, allocate, lower_hull


def matrices(count: int) -> dict[str, list[Option]]:
    """Each with four types, whose losses fall as they do in reality, but for chance."""
    random = np.random.default_rng(5)
    return {
        str(number): [
            Option(f"{bits}", bits * 100, weight * 3.0**-bits * random.uniform(0.8, 1.2)) for bits in (3, 4, 5, 8)
        ]
        for number, weight in enumerate(random.uniform(1, 50, count))
    }


@pytest.mark.parametrize("bits", [1800, 2300, 2900, 4800])
def test_no_other_choice_loses_less(bits: float) -> None:
    options = matrices(6)
    chosen = allocate(options, bits)
    assert sum(option.bits for option in chosen.values()) <= bits
    every = [each for each in itertools.product(*options.values()) if sum(one.bits for one in each) <= bits]
    least = min(sum(one.loss for one in each) for each in every)
    assert sum(option.loss for option in chosen.values()) <= 1.1 * least, "but for the last bits it is the best"


def test_too_few_bits_leave_the_smallest() -> None:
    assert {option.dtype for option in allocate(matrices(4), 10).values()} == {"3"}


def test_types_that_mixtures_of_others_beat_are_left_out() -> None:
    options = [Option("a", 4, 10), Option("b", 5, 9), Option("c", 6, 2), Option("d", 7, 3), Option("e", 8, 1)]
    assert [option.dtype for option in lower_hull(options)] == ["a", "c", "e"]
