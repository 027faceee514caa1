"""Products of each token's own matrices against NumPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.step import STEP_TOKENS
from ftllm_nb.kernels.token_matmul import product_kernel
from tests.kernels.kernel_runs import UNIT, Rows, run


@pytest.mark.parametrize("transposed", [False, True])
@settings(max_examples=40, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 5]), rows=st.sampled_from([1, 3]), inner=st.sampled_from([1, 2, 15, 16, 17, 40]),
    columns=st.sampled_from([1, 2, 15, 16, 17, 33]), batch=st.sampled_from([(1, 1), (2, 1), (6, 3)]),
    shared=st.booleans(), gap=st.sampled_from([0, 1, 16]),
)  # fmt: skip
def test_products(
    transposed: bool, tokens: int, rows: int, inner: int, columns: int, batch: tuple[int, int], shared: bool, gap: int
) -> None:
    number, group = batch
    random = np.random.default_rng(inner)
    first = random.standard_normal((tokens, number, rows, inner), np.float32)
    tail = (columns, inner) if transposed else (inner, columns)
    second = random.standard_normal((1 if shared else tokens, number // group, *tail), np.float32)
    a, b = Rows(first.reshape(tokens, -1), gap), Rows(second.reshape(len(second), -1), gap)
    out = Rows.unwritten(tokens, number * rows * columns, gap)
    alpha = np.float32(-0.3)
    run(product_kernel(transposed), tokens, a.address, a.stride, b.address, 0 if shared else b.stride, out.address,
        out.stride, number, group, rows, inner, columns, STEP_TOKENS, float(alpha))  # fmt: skip
    out.assert_marks()
    spread = np.repeat(second.swapaxes(-1, -2) if transposed else second, group, axis=1).astype(np.float64)
    expected = float(alpha) * (first.astype(np.float64) @ spread)
    size = abs(float(alpha)) * (np.abs(first).astype(np.float64) @ np.abs(spread))
    got = out.values.reshape(expected.shape)
    assert (np.abs(got - expected) <= (inner + 2) * UNIT * size).all()
