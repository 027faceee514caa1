"""The kernels that sort slots by expert, against a loop in Python."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.kernels.experts import (
    GATHER,
    ROUTE,
    UNIT_BYTES,
    UNIT_SLOTS,
    UNITS_HEAD,
    experts_in,
    gather,
    most_units,
    route,
)
from ftllm_nb.kernels.step import STEP_TOKENS
from tests.kernels.kernel_runs import run


@pytest.mark.parametrize(("tokens", "picks", "experts"), [(1, 1, 1), (1, 8, 128), (7, 2, 5), (500, 3, 4), (64, 6, 64)])
def test_slots_are_sorted_by_expert_and_token(tokens: int, picks: int, experts: int) -> None:
    random = np.random.default_rng(tokens)
    index = random.integers(-1, experts + 1, (tokens, picks)).astype(np.float32)
    index[0, 0] = np.nan
    score = random.standard_normal((tokens, picks)).astype(np.float32)
    slots = tokens * picks
    units = np.zeros(UNITS_HEAD + UNIT_BYTES * most_units(slots, experts), np.uint8)
    token_of, slot_of, weights = np.zeros(slots, np.int32), np.zeros((tokens, picks), np.int32), np.zeros_like(score)
    run(
        route, tokens, *ROUTE.values(
            index=index.ctypes.data, index_stride=4 * picks, score=score.ctypes.data, score_stride=4 * picks,
            picks=picks, experts=experts, count=STEP_TOKENS, units=units.ctypes.data, tokens=token_of.ctypes.data,
            slots=slot_of.ctypes.data, weights=weights.ctypes.data,
        ),
    )  # fmt: skip
    chosen = np.clip(np.nan_to_num(index), 0, experts - 1).astype(int)
    expected = sorted((expert, token) for token in range(tokens) for expert in chosen[token])
    assert token_of.tolist() == [token for _, token in expected]
    for token in range(tokens):
        order = np.argsort(chosen[token], kind="stable")
        assert [expected[slot] for slot in slot_of[token]] == [(chosen[token, pick], token) for pick in order]
        np.testing.assert_array_equal(weights[token], score[token, order])
    (count,) = units[:8].view(np.int64)
    found = units[UNITS_HEAD : UNITS_HEAD + UNIT_BYTES * count].view(np.int64).reshape(-1, 3)
    assert (found[:, 2] <= UNIT_SLOTS).all() and (found[:, 2] > 0).all()
    covered = [(expert, slot) for expert, first, number in found.tolist() for slot in range(first, first + number)]
    assert covered == [(expert, slot) for slot, (expert, _) in enumerate(expected)]
    assert experts_in(units.ctypes.data) == len({expert for expert, _ in expected})

    rows = random.integers(0, 255, (tokens, 100)).astype(np.uint8)
    gathered = np.zeros((slots, 128), np.uint8)
    run(
        gather, tokens, *GATHER.values(
            input=rows.ctypes.data, input_stride=100, output=gathered.ctypes.data, output_stride=128, size=100,
            tokens=token_of.ctypes.data, picks=picks, count=STEP_TOKENS,
        ),
    )  # fmt: skip
    if tokens > 1:
        np.testing.assert_array_equal(gathered[:, :100], rows[token_of])
    assert not gathered[:, 100:].any()
