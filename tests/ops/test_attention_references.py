"""References of attention and of rotations against twins written as loops."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.engine.reference_walk import ReferenceCache
from tests.ops.operator_runs import compute, normal, seeds, sizes


@given(sizes, sizes, st.integers(1, 4), st.integers(0, 3), seeds)
def test_rotations_of_parts_and_of_neighbours(tokens: int, heads: int, half: int, rest: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, angles = normal(seed, 1, tokens, heads, 2 * half + rest), random.uniform(-9, 9, (20, half))
    positions = random.integers(0, 20, (1, tokens), np.int32)
    tables = {"sin": np.sin(angles).astype(np.float32), "cos": np.cos(angles).astype(np.float32)}
    given_ = {"input": x, "positionIds": positions, **tables, "rotaryDim": 2 * half}
    part = compute("LlamaRotatePosition2DPart", **given_, part=2 * half)
    _assert_turned(part, x, angles[positions[0]], [(j, j + half) for j in range(half)])
    neighbours = compute("NearlyRotatePosition2D", **given_, positionStride=1)
    _assert_turned(neighbours, x, angles[positions[0]], [(2 * j, 2 * j + 1) for j in range(half)])


def _assert_turned(output: Any, x: Any, angles: Any, pairs: list[tuple[int, int]]) -> None:
    expected = x.astype(float)
    for t, h, j in np.ndindex(x.shape[1], x.shape[2], len(pairs)):
        a, b = pairs[j]
        turned = complex(x[0, t, h, a], x[0, t, h, b]) * cmath.rect(1, angles[t, j])
        expected[0, t, h, [a, b]] = turned.real, turned.imag
    np.testing.assert_allclose(output, expected, atol=1e-5)


@given(sizes, sizes, st.integers(1, 5), st.integers(1, 12), seeds)
def test_rotation_is_a_complex_product(
    tokens: int, heads: int, half: int, rotary_dim: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x, angles = normal(seed, 1, tokens, heads, 2 * half), random.uniform(-9, 9, (20, half))
    positions = random.integers(0, 20, (1, tokens), np.int32)
    output = compute(
        "LlamaRotatePosition2D",
        input=x,
        positionIds=positions,
        sin=np.sin(angles).astype(np.float32),
        cos=np.cos(angles).astype(np.float32),
        rotaryDim=rotary_dim,
    )
    expected = x.astype(float)
    for t, h, j in np.ndindex(tokens, heads, min(rotary_dim, half)):
        turned = complex(x[0, t, h, j], x[0, t, h, j + half]) * cmath.rect(1, angles[positions[0, t], j])
        expected[0, t, h, [j, j + half]] = turned.real, turned.imag
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_rotary_dim_of_a_head_and_of_half_a_head_are_the_same() -> None:
    angles = normal(1, 9, 4)
    arguments = {"input": normal(2, 1, 3, 2, 8), "positionIds": np.int32([[0, 5, 8]]), "sin": np.sin(angles)}
    whole, half = (
        compute("LlamaRotatePosition2D", **arguments, cos=np.cos(angles), rotaryDim=dim) for dim in (8, 4)
    )
    np.testing.assert_array_equal(whole, half)


def attend_naively(
    q: Any, keys: Any, values: Any, position: int, scale: float, causal: bool, limits: dict[str, Any]
) -> list[list[float]]:
    """One token's attention, [heads][v dim]: softmax over the positions that it sees."""
    heads, kv_heads = len(q), keys.shape[1]
    window, chunk, softcap = (limits.get(name, 0) for name in ("window", "chunk", "softcap"))
    seen = [
        p for p in range(len(keys))
        if not causal or (p <= position and (not window or position - p < window)
                          and (not chunk or p // chunk == position // chunk))
    ]  # fmt: skip
    output = []
    for h in range(heads):
        kv = h * kv_heads // heads
        scores = [scale * sum(a * b for a, b in zip(q[h], keys[p, kv], strict=True)) for p in seen]
        if softcap:
            scores = [softcap * math.tanh(score / softcap) for score in scores]
        weights = [math.exp(score - max(scores)) for score in scores]
        sink = math.exp(limits["sinks"][h] - max(scores)) if "sinks" in limits else 0
        output.append(
            [
                sum(w * values[p, kv, d] for w, p in zip(weights, seen, strict=True)) / (sum(weights) + sink)
                for d in range(values.shape[2])
            ]
        )
    return output


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(1, 2),
    st.integers(1, 3),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([0, 2]),
    st.sampled_from(["float32", "float16"]),
    st.fixed_dictionaries({}, optional={
        "window": st.integers(1, 5), "chunk": st.integers(1, 4), "softcap": st.sampled_from([0.5, 5.0]),
        "sinks": st.just([0.3, -1.0, 2.0, 0.0, 1.5, -0.2]),
    }),
    seeds,
)  # fmt: skip
def test_attention(
    lengths: list[int],
    kv_heads: int,
    group: int,
    dims: tuple[int, int],
    mask_type: int,
    dtype: str,
    limits: dict[str, Any],
    seed: int,
) -> None:
    """Two steps of several sequences: caches grow, sequences are apart, V has its own head size."""
    dim, v_dim = dims
    if mask_type == 2:
        limits = {name: limits[name] for name in limits if name not in ("window", "chunk")}
    given_limits = dict(limits)
    if "sinks" in limits:
        given_limits["sinks"] = np.float32(limits["sinks"][: kv_heads * group])
    caches = {
        name: [ReferenceCache(kv_heads, size, dtype) for _ in lengths]
        for name, size in zip("kv", dims, strict=True)
    }
    past: list[tuple[list[Any], list[Any]]] = [([], []) for _ in lengths]
    for step in range(2):
        tokens = sum(lengths)
        q = normal(seed + 3 * step, 1, tokens, kv_heads * group, dim)
        curk = normal(seed + 3 * step + 1, 1, tokens, kv_heads, dim)
        curv = normal(seed + 3 * step + 2, 1, tokens, kv_heads, v_dim)
        output = compute(
            "FusedAttention", **caches, q=q, curk=curk, curv=curv, original=q, mask=np.empty(0),
            seqLens=np.int32(lengths), scale=0.7, maskType=mask_type, unitLen=128, **given_limits,
        )  # fmt: skip
        assert output.shape == (1, tokens, kv_heads * group * v_dim)
        again = compute(
            "FusedAttention", **caches, q=q, curk=None, curv=None, original=q, mask=np.empty(0),
            seqLens=np.int32(lengths), scale=0.7, maskType=mask_type, unitLen=128, **given_limits,
        )  # fmt: skip
        np.testing.assert_array_equal(again, output, "another layer that reads the same keys and values")
        first = 0
        for (keys, values), length in zip(past, lengths, strict=True):
            start = len(keys)
            keys += list(curk[0, first : first + length].astype(dtype).astype(float))
            values += list(curv[0, first : first + length].astype(dtype).astype(float))
            for i in range(length):
                expected = attend_naively(
                    q[0, first + i].astype(float),
                    np.array(keys),
                    np.array(values),
                    start + i,
                    0.7,
                    mask_type == 0,
                    limits,
                )
                np.testing.assert_allclose(output[0, first + i], np.ravel(expected), atol=1e-5)
            first += length
