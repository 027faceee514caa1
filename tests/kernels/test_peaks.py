"""The largest number of each run of a row, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.peaks import RUN, peaks
from ftllm_nb.kernels.step import STEP_TOKENS
from tests.kernels.kernel_runs import Floats, Rows, run

SIZES = [1, 5, 15, 16, 17, RUN - 1, RUN, RUN + 1, 3 * RUN + 33]


def peaks_of(values: Floats, gap: int = 0) -> Floats:
    runs = -(-values.shape[1] // RUN)
    rows, out = Rows(values, gap), Rows.unwritten(len(values), runs)
    run(peaks, len(values), rows.address, rows.stride, values.shape[1], out.address, STEP_TOKENS)
    rows.assert_marks()
    out.assert_marks()
    return out.values


@given(
    rows=st.sampled_from([1, 2, 7]), size=st.sampled_from(SIZES), gap=st.sampled_from([0, 3, 16]),
    shift=st.sampled_from([-50, 0, 50]), seed=st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_each_run_of_each_row(rows: int, size: int, gap: int, shift: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(shift, 10, (rows, size)).astype(np.float32)
    expected = np.maximum.reduceat(values, range(0, size, RUN), axis=1)
    np.testing.assert_array_equal(peaks_of(values, gap), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_told_of_its_run_alone(size: int, what: float) -> None:
    for at in {0, size // 2, size - 1}:
        values = np.ones((2, size), np.float32)
        values[1, at] = what
        found = peaks_of(values)
        assert np.isnan(found[1, at // RUN])
        found[1, at // RUN] = 1
        assert (found == 1).all()
