"""Activations as sums of two bfloat16, against the operator's NumPy reference and the bound it states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.kernels.amx_bf16 import PARTS, STEP_COLUMNS, TILE_TOKENS, split_parts
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, STEP_TOKENS
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.ops.split_parts import SplitParts

POOL = ThreadPool(2)

pytestmark = pytest.mark.skipif(not current_tier().multiplies_matrices, reason="the tier has no AMX")


def split(x: np.ndarray) -> np.ndarray:
    """[tokens, bytes of a token], by the kernel."""
    tokens, features = x.shape
    columns = -(-features // STEP_COLUMNS) * STEP_COLUMNS
    out = np.full((tokens, 2 * PARTS * columns), 255, np.uint8)
    row = np.zeros((1, ROW_FIELDS), np.int64)
    row[0, :8] = (split_parts.address, x.ctypes.data, 4 * features, out.ctypes.data, out.strides[0], features,
                  columns, STEP_TOKENS)  # fmt: skip
    step = np.zeros(STEP_FIELDS, np.int64)
    step[STEP_TOKENS] = tokens
    assert POOL.run(row, step)
    return out


def joined(parts: np.ndarray, features: int) -> np.ndarray:
    """The sums of the parts, in double precision: [tokens, features]."""
    rows = []
    for first in range(0, len(parts), TILE_TOKENS):
        tile = parts[first : first + TILE_TOKENS]
        words = np.ascontiguousarray(tile).view(np.uint16).reshape(-1, len(tile), PARTS, STEP_COLUMNS)
        values = (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64).sum(2)
        rows.append(values.transpose(1, 0, 2).reshape(len(tile), -1))
    return np.concatenate(rows)[:, :features]


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 7, 8, 9, 16, 17, 130]),
    features=st.sampled_from([1, 15, 16, 17, 31, 32, 33, 64, 97]),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 9),
)
def test_two_parts_hold_17_bits(tokens: int, features: int, exponent: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((tokens, features), np.float32) * np.float32(2.0**exponent)
    parts = split(x)
    columns = parts.shape[1] // (2 * PARTS)
    expected = SplitParts.reference(None, x[None], columns)
    np.testing.assert_array_equal(parts, np.ascontiguousarray(expected[0]).view(np.uint8))
    assert (np.abs(joined(parts, features) - x) <= 2.0**-17 * np.abs(x)).all()


def test_a_number_of_eight_bits_is_kept_exactly() -> None:
    x = np.arange(-128, 128, dtype=np.float32).reshape(4, 64)
    np.testing.assert_array_equal(joined(split(x), 64), x)
