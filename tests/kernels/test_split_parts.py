"""Activations as one bfloat16 or sums of two, against the form's NumPy definition and the bound it states."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.kernels.bf16_parts import (
    STEP_COLUMNS,
    TILE_ROWS,
    gelu_multiply_split_kernel,
    silu_multiply_split_kernel,
    split_kernel,
)
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.elementwise import gelu_multiply, gelu_tanh_multiply, silu_multiply
from ftllm_nb.kernels.step import STEP_TOKENS
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.quant.activations import SplitForm
from tests.kernels.kernel_runs import run

pytestmark = pytest.mark.skipif(not current_tier().multiplies_matrices, reason="the tier has no AMX")


def split(
    x: np.ndarray, parts: int, second: np.ndarray | None = None, of: Callable[[int], Kernel] = split_kernel
) -> np.ndarray:
    """[tokens, bytes of a token], by the kernel of so many parts: of x, or of an activation of it · second."""
    tokens, features = x.shape
    columns = -(-features // STEP_COLUMNS) * STEP_COLUMNS
    out = np.full((tokens, 2 * parts * columns), 255, np.uint8)
    other = x if second is None else second
    run(of(parts), tokens, x.ctypes.data, 4 * features, other.ctypes.data, 4 * features, out.ctypes.data,
        out.strides[0], features, columns, STEP_TOKENS)  # fmt: skip
    return out


def joined(split: np.ndarray, features: int, parts: int) -> np.ndarray:
    """The sums of the parts, in double precision: [tokens, features]."""
    rows = []
    tile_tokens = TILE_ROWS // parts
    for first in range(0, len(split), tile_tokens):
        tile = split[first : first + tile_tokens]
        words = np.ascontiguousarray(tile).view(np.uint16).reshape(-1, len(tile), parts, STEP_COLUMNS)
        values = (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64).sum(2)
        rows.append(values.transpose(1, 0, 2).reshape(len(tile), -1))
    return np.concatenate(rows)[:, :features]


@pytest.mark.parametrize(("parts", "bits"), [(1, 8), (2, 17)])
@settings(max_examples=60, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 7, 8, 9, 16, 17, 130]),
    features=st.sampled_from([1, 15, 16, 17, 31, 32, 33, 64, 97]),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 9),
)
def test_parts_hold_their_bits(
    parts: int, bits: int, tokens: int, features: int, exponent: int, seed: int
) -> None:
    x = np.random.default_rng(seed).standard_normal((tokens, features), np.float32) * np.float32(2.0**exponent)
    found = split(x, parts)
    expected = SplitForm(parts).convert(x[None])
    np.testing.assert_array_equal(found, np.ascontiguousarray(expected[0]).view(np.uint8))
    assert (np.abs(joined(found, features, parts) - x) <= 2.0**-bits * np.abs(x)).all()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_number_of_eight_bits_is_kept_exactly(parts: int) -> None:
    x = np.arange(-128, 128, dtype=np.float32).reshape(4, 64)
    np.testing.assert_array_equal(joined(split(x, parts), 64, parts), x)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("tokens", "features"), [(1, 1), (9, 100), (17, 1030)])
@pytest.mark.parametrize(
    ("plain", "of"),
    [
        (silu_multiply, silu_multiply_split_kernel), (gelu_multiply, partial(gelu_multiply_split_kernel, tanh=False)),
        (gelu_tanh_multiply, partial(gelu_multiply_split_kernel, tanh=True)),
    ],
)  # fmt: skip
def test_the_gated_activation_is_split_as_on_its_own(
    plain: Kernel, of: Callable[[int], Kernel], parts: int, tokens: int, features: int
) -> None:
    random = np.random.default_rng(5)
    gate, up = (random.standard_normal((tokens, features), np.float32) for _ in range(2))
    product = np.empty_like(gate)
    run(plain, tokens, gate.ctypes.data, 4 * features, up.ctypes.data, 4 * features,
        product.ctypes.data, 4 * features, features, STEP_TOKENS)  # fmt: skip
    np.testing.assert_array_equal(split(gate, parts, up, of), split(product, parts))
