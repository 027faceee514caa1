"""Recurrent operators against twins in float64: a convolution as a sum over tokens, and recurrences in their chunk
form, which is another algorithm for the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.graph.types import ShapeError
from ftllm_nb.ops.base import StepContext
from tests.ops.operator_runs import OPERATORS, compute, normal, seeds, sizes, type_of

ROWS = StepContext(rows=(slice(0, 9), slice(9, 10), slice(10, 27)))
"""Three sequences in a step."""
TOKENS = 27


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


@given(sizes, st.integers(2, 5), seeds, st.booleans(), st.booleans())
def test_causal_convolution(channels: int, taps: int, seed: int, has_bias: bool, is_silu: bool) -> None:
    x, weight = normal(seed, 1, TOKENS, channels), normal(seed + 1, channels, 1, taps)
    bias = normal(seed + 2, channels) if has_bias else None
    tails = [normal(seed + 3 + number, taps - 1, 16) for number in range(3)]
    before = [tail.copy() for tail in tails]
    output = compute("CausalConv1D", ROWS, input=x, weight=weight, bias=bias, tail=tails, activation=int(is_silu))
    for rows, old, new in zip(ROWS.rows, before, tails, strict=True):
        inputs = [*old[:, :channels].astype(float), *x[0, rows].astype(float)]
        for number, row in enumerate(output[0, rows]):
            total = np.zeros(channels) if bias is None else bias.astype(float)
            for tap in range(taps):
                total = total + inputs[number + tap] * weight[:, 0, tap]
            expected = total / (1 + np.exp(-total)) if is_silu else total
            np.testing.assert_allclose(row, expected, atol=1e-5)
        np.testing.assert_array_equal(new[:, :channels], np.float32(inputs[len(inputs) - taps + 1 :]))


def chunk_of_delta_rule(
    q: Any, k: Any, v: Any, g: Any, b: Any, state: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(output, state) of a head by the UT transform: one triangular system for all tokens. g: [tokens, dk]."""
    total = np.cumsum(g, axis=0)
    decayed_k, undecayed_k = np.exp(total) * k, np.exp(-total) * k
    below = np.tril(b[:, None] * (decayed_k @ undecayed_k.T), -1)
    inverse = np.linalg.inv(np.eye(len(k)) + below)
    values = inverse @ (b[:, None] * v) - inverse @ (b[:, None] * decayed_k) @ state
    output = (np.exp(total) * q) @ state + np.tril((np.exp(total) * q) @ undecayed_k.T) @ values
    kept = np.exp(total[-1])[:, None] * state + (np.exp(total[-1] - total) * k).T @ values
    return output, kept


@settings(max_examples=30)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 6), st.integers(1, 35), seeds, st.booleans())
def test_gated_delta_rule(
    key_heads: int, repeats: int, key_dim: int, value_dim: int, seed: int, by_channel: bool
) -> None:
    heads = key_heads * repeats
    q, k = (normal(seed + number, 1, TOKENS, key_heads, key_dim) / key_dim**0.5 for number in range(2))
    v, b = normal(seed + 2, 1, TOKENS, heads, value_dim), 1 / (1 + np.exp(normal(seed + 3, 1, TOKENS, heads)))
    g = np.float32(-0.1) * softplus(normal(seed + 4, 1, TOKENS, heads, *([key_dim] if by_channel else [])))
    shape = OPERATORS["RecurrentGatedDeltaRule"].state_shapes(
        {name: type_of(array) for name, array in {"q": q, "k": k, "v": v, "g": g, "b": b}.items()}
    )["last_recurrent_state"]
    states = [normal(seed + 5 + number, *shape) for number in range(3)]
    before = [state.astype(float) for state in states]
    output = compute(
        "RecurrentGatedDeltaRule", ROWS, q=q, k=k, v=v, g=g, b=b, last_recurrent_state=states, qScale=0.5
    )
    for number, rows in enumerate(ROWS.rows):
        for head in range(heads):
            decay = g[0, rows, head].reshape(-1, key_dim if by_channel else 1) * np.ones(key_dim)
            expected, kept = chunk_of_delta_rule(
                q[0, rows, head // repeats].astype(float), k[0, rows, head // repeats].astype(float),
                v[0, rows, head].astype(float), decay, b[0, rows, head].astype(float),
                before[number][head, :, :value_dim],
            )  # fmt: skip
            np.testing.assert_allclose(output[0, rows, head], 0.5 * expected, atol=2e-4)
            np.testing.assert_allclose(states[number][head, :, :value_dim], kept, atol=2e-4)


@settings(max_examples=30)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 6), st.integers(1, 35), seeds)
def test_mamba_scan(groups: int, repeats: int, state_size: int, head_dim: int, seed: int) -> None:
    heads = groups * repeats
    x, dt = normal(seed, 1, TOKENS, heads, head_dim), normal(seed + 1, 1, TOKENS, heads)
    B, C = (normal(seed + number, 1, TOKENS, groups, state_size) for number in (2, 3))
    aLog, dtBias, D = (normal(seed + number, heads) for number in (4, 5, 6))
    states = [normal(seed + 7 + number, heads, state_size, -(-head_dim // 32) * 32) for number in range(3)]
    before = [state.astype(float) for state in states]
    output = compute(
        "MambaScan", ROWS, x=x, dt=dt, B=B, C=C, aLog=aLog, dtBias=dtBias, D=D, state=states, timeStepMin=0.2,
        timeStepMax=1.5,
    )  # fmt: skip
    steps = np.clip(softplus(dt.astype(float) + dtBias), 0.2, 1.5)
    for number, rows in enumerate(ROWS.rows):
        for head in range(heads):
            total = np.cumsum(-np.exp(float(aLog[head])) * steps[0, rows, head])
            key, query = (each[0, rows, head // repeats].astype(float) for each in (B, C))
            value, state = x[0, rows, head].astype(float), before[number][head, :, :head_dim]
            scaled, apart = steps[0, rows, head][:, None] * value, np.exp(np.tril(total[:, None] - total))
            expected = np.tril(query @ key.T * apart) @ scaled + np.exp(total)[:, None] * (query @ state)
            np.testing.assert_allclose(output[0, rows, head], expected + D[head] * value, atol=2e-3, rtol=1e-4)
            kept = np.exp(total[-1]) * state + (np.exp(total[-1] - total)[:, None] * key).T @ scaled
            np.testing.assert_allclose(states[number][head, :, :head_dim], kept, atol=2e-3, rtol=1e-4)


@given(sizes, sizes, seeds)
def test_l2_norm(heads: int, size: int, seed: int) -> None:
    x = normal(seed, 1, 3, heads, size)
    expected = [row / np.sqrt(np.dot(row, row) + 0.01) for row in x.astype(float).reshape(-1, size)]
    np.testing.assert_allclose(compute("L2Norm", input=x, eps=0.01).reshape(-1, size), expected, rtol=1e-5)


@given(sizes, sizes, seeds, st.booleans(), st.booleans(), st.booleans())
def test_gated_rms_norm(heads: int, size: int, seed: int, sigmoid: bool, first: bool, whole: bool) -> None:
    x, gate = normal(seed, 1, 3, heads, size), normal(seed + 1, 1, 3, heads, size)
    weight = normal(seed + 2, heads * size if whole else size)
    output = compute(
        "GatedRMSNorm", input=x, gate=gate, weight=weight, eps=0.01, gateType=int(sigmoid), gateFirst=int(first)
    )
    factors = 1 / (1 + np.exp(-gate.astype(float))) * (1 if sigmoid else gate)
    for token in range(3):
        for head in range(heads):
            row, factor = x[0, token, head].astype(float), factors[0, token, head]
            own = weight[head * size :][:size] if whole else weight
            row = row * factor if first else row
            row = row / np.sqrt(np.dot(row, row) / size + 0.01) * own * (1 if first else factor)
            np.testing.assert_allclose(output[0, token, head], row, atol=1e-5)


@given(sizes, sizes, seeds)
def test_decays_of_heads_and_of_channels(heads: int, dim: int, seed: int) -> None:
    x, rates, bias = normal(seed, 1, 3, heads, dim), normal(seed + 1, heads), normal(seed + 2, heads * dim)
    expected = -np.exp(rates.astype(float))[:, None] * softplus(x[0] + bias.reshape(heads, dim).astype(float))
    np.testing.assert_allclose(compute("MambaSoftplus", input=x, aLog=rates, dtBias=bias)[0], expected, rtol=1e-4)
    flat = compute("MambaSoftplus", input=x[..., 0], aLog=rates, dtBias=bias[::dim].copy())
    np.testing.assert_allclose(flat[0], expected[..., 0], rtol=1e-4)


@given(sizes, sizes, seeds)
def test_running_sums(heads: int, size: int, seed: int) -> None:
    x = normal(seed, 1, 3, heads, size)
    expected = [[sum(row[: at + 1]) for at in range(size)] for row in x.astype(float).reshape(-1, size)]
    np.testing.assert_allclose(compute("CumSumLastDim", input=x).reshape(-1, size), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("CausalConv1D", {"weight": normal(1, 4, 2, 3)}, r"weight must have shape \[5, 1, taps\]"),
        ("CausalConv1D", {"weight": normal(1, 5, 1, 1)}, "weight must have at least 2 taps"),
        ("CausalConv1D", {"bias": normal(1, 4)}, r"bias must have shape \[5\]"),
        ("CausalConv1D", {"activation": 2}, "activation must be 0, nothing, or 1, silu, but it is 2"),
        ("RecurrentGatedDeltaRule", {"v": normal(1, 1, 3, 5, 4)}, "v's 5 heads must be a multiple of k's 2"),
        ("RecurrentGatedDeltaRule", {"q": normal(1, 1, 3, 2, 7)}, "q and k must have the same shape"),
        ("RecurrentGatedDeltaRule", {"b": normal(1, 1, 3, 2)}, r"b must be \[1, tokens, 4\], a number for each head"),
        ("RecurrentGatedDeltaRule", {"g": normal(1, 1, 3, 4, 5)}, "g must be .* a number for each channel of k"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(name: str, changes: dict[str, Any], expected: str) -> None:
    given: dict[str, Any] = {
        "CausalConv1D": {"input": normal(1, 1, 3, 5), "weight": normal(2, 5, 1, 3), "bias": None, "activation": 0},
        "RecurrentGatedDeltaRule": {
            "q": normal(1, 1, 3, 2, 6), "k": normal(1, 1, 3, 2, 6), "v": normal(1, 1, 3, 4, 8),
            "g": normal(1, 1, 3, 4), "b": normal(1, 1, 3, 4), "qScale": 1.0,
        },
    }[name] | changes  # fmt: skip
    types = {key: type_of(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
    with pytest.raises(ShapeError, match=expected):
        OPERATORS[name].infer_outputs({**types, **{key: type_of(np.zeros(shape, np.float32)) for key, shape in
                                                   OPERATORS[name].state_shapes(types).items()}})  # fmt: skip
