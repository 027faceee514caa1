"""Floats to ggml's block types: the numbers are the nearest ones, the scales are as good as a search in NumPy finds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.checkpoint import ggml
from ftllm_nb.checkpoint.bfloat16 import float32_as_bfloat16
from ftllm_nb.checkpoint.ggml.families.table import IQ4
from ftllm_nb.kernels.blocks.quantizers import quantizers
from ftllm_nb.quant.blocks import COARSER_ROWS, RoundedBlocks, blocks_of
from ftllm_nb.quant.families.blocked import TYPES

Floats = NDArray[np.float32]
Exact = NDArray[np.float64]
QUICK = ("IQ4_NL", "Q4_K")
"""One with a table, one with minimums: each takes seconds to compile."""
each_type = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in quantizers()]
)
ERRORS = {
    "IQ4_NL": 0.076, "IQ4_XS": 0.077, "Q4_0": 0.084, "Q4_1": 0.073, "Q4_K": 0.074, "Q5_0": 0.042, "Q5_1": 0.035,
    "Q5_K": 0.0365, "Q6_K": 0.018, "Q8_0": 0.0053, "MXFP4": 0.117,
}  # fmt: skip
"""Root mean squared errors of normal weights, in those of the weights: a twentieth above what was found. Rounding to
nearest in int4g32 has 0.095."""
LEVELS = {"IQ4_NL": np.array(IQ4, float), "Q4_0": np.arange(-8.0, 8), "Q5_0": np.arange(-16.0, 16)}


def drawn(rows: int = 24, columns: int = 768, seed: int = 0) -> Floats:
    """Weights of several sizes."""
    random = np.random.default_rng(seed)
    sizes = 2.0 ** random.integers(-9, -2, (rows, 1))
    drawn: Floats = (random.standard_normal((rows, columns)) * sizes).astype(np.float32)
    return drawn


def errors(name: str, weights: Floats, importance: Floats | None = None) -> Exact:
    """What rounding takes from weights."""
    blocks = blocks_of(name, weights, "float32", importance)
    assert blocks.shape == (len(weights), weights.shape[1] // ggml.block_types()[name].columns
                            * ggml.block_types()[name].nbytes)  # fmt: skip
    off: Exact = ggml.dequantize(name, blocks).astype(np.float64) - weights
    return off


@each_type
def test_errors_are_small(name: str) -> None:
    weights = drawn()
    relative = np.sqrt((errors(name, weights) ** 2).mean(1) / (weights.astype(np.float64) ** 2).mean(1))
    assert relative.mean() < ERRORS[name]


@each_type
def test_what_counts_more_is_nearer(name: str) -> None:
    weights = drawn()
    importance = np.where(np.arange(weights.shape[1]) % 16 < 3, 100.0, 1.0).astype(np.float32)
    alike, weighted = errors(name, weights), errors(name, weights, importance)
    most = 0.98 if name == "MXFP4" else 0.9  # scales that are powers of two leave little choice
    assert (weighted**2 * importance).sum() < most * (alike**2 * importance).sum()


@each_type
def test_numbers_are_the_nearest_ones(name: str) -> None:
    """No weight is nearer to another number of its group that some weight of the group has."""
    weights = drawn(4)
    type, blocks = ggml.block_types()[name], blocks_of(name, weights, "float32")
    got = type.decode(blocks.reshape(-1, type.nbytes))
    groups = got.scales.size
    exact, numbers = weights.reshape(groups, -1).astype(np.float64), got.numbers.reshape(groups, -1).astype(float)
    minimums = 0.0 if got.minimums is None else got.minimums.reshape(groups, 1).astype(np.float64)
    scales = got.scales.reshape(groups, 1).astype(np.float64)
    own = np.abs(exact - (numbers * scales - minimums))
    for other in range(numbers.shape[1]):
        theirs = np.abs(exact - (numbers[:, other : other + 1] * scales - minimums))
        assert (own <= theirs * (1 + 1e-5) + 1e-6 * np.abs(exact).max()).all()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in LEVELS]
)
def test_no_scale_of_a_fine_search_is_much_better(name: str) -> None:
    """The error counts once more along the weights."""
    weights, levels = drawn(4, 256, 1), LEVELS[name]

    def loss(x: Exact, off: Exact) -> Exact:
        found: Exact = (off**2).sum(-1) + (off * x).sum(-1) ** 2 / (x**2).sum(-1)
        return found

    groups = weights.reshape(-1, 32).astype(np.float64)
    found = loss(groups, errors(name, weights).reshape(-1, 32))
    base, least = np.abs(groups).max(-1, keepdims=True) / np.abs(levels).max(), np.full(len(groups), np.inf)
    for share in np.linspace(0.4, 1.3, 181):
        for sign in (1, -1):
            scale = base * share * sign
            off = levels[np.abs(groups[..., None] / scale[..., None] - levels).argmin(-1)] * scale - groups
            least = np.minimum(least, loss(groups, off))
    assert (found / least).mean() < 1.06


@each_type
def test_zeros_stay_zeros_and_constants_stay_near(name: str) -> None:
    weights = np.zeros((3, 256), np.float32)
    weights[1], weights[2] = (0.25, -0.25) if name == "MXFP4" else (0.3, -0.3)
    off = errors(name, weights)
    assert not off[0].any()
    assert np.abs(off[1:]).max() < 0.3 * 0.01


@each_type
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_no_block_can_hold_is_said(name: str, value: float) -> None:
    weights = np.ones((20, 512), np.float32)
    weights[18, 300] = value
    with pytest.raises(ValueError, match=f"holds numbers that are not finite, or too large for {name.lower()}"):
        blocks_of(name, weights, "float32")


def test_other_types_and_threads_give_the_same_blocks() -> None:
    bits = float32_as_bfloat16(drawn(70, 96))
    floats = (bits.astype(np.uint32) << 16).view(np.float32)
    expected = blocks_of("IQ4_NL", floats, "float32")
    for threads in (1, 3):
        np.testing.assert_array_equal(blocks_of("IQ4_NL", bits, "bfloat16", threads=threads), expected)


def test_rows_that_are_no_whole_blocks_get_another_type() -> None:
    assert set(TYPES) <= set(COARSER_ROWS)
    names = {columns: [RoundedBlocks(name).fitting(columns) for name in TYPES] for columns in (256, 96, 90)}
    assert names[256] == list(TYPES)
    assert names[96] == ["iq4_nl", "iq4_nl", "q4_1", "q5_0", "q5_0", "q5_1", "q5_1", "int8g32"]
    assert set(names[90]) == {"int4g32", "int8g32"}
