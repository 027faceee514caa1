"""Matrices with their axes exchanged."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.kernels.transpose import TRANSPOSE, transpose_kernel
from tests.kernels.kernel_runs import run


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1), (33, 64), (64, 33), (100, 257)])
def test_transposed(shape: tuple[int, int], dtype: type) -> None:
    source = np.random.default_rng(0).integers(0, 1 << 16, shape).astype(dtype)
    target = np.full(source.size + 8, 7, dtype)
    row = TRANSPOSE.values(source=source.ctypes.data, target=target.ctypes.data, rows=shape[0], columns=shape[1])
    run(transpose_kernel(source.itemsize), 1, *row)
    np.testing.assert_array_equal(target[: source.size].reshape(shape[::-1]), source.T)
    assert (target[source.size :] == 7).all()
