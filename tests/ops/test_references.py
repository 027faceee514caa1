"""Each operator's NumPy reference against a twin written as loops, and its shape rule against the result."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.engine.reference_executor import ReferenceCache
from ftllm_nb.errors import EngineError, GraphError
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.types import ShapeError, Symbol, TensorType
from ftllm_nb.ops.base import StepContext
from ftllm_nb.ops.exit import Exit
from ftllm_nb.ops.print import Print

OPERATORS = public_operators()
STEP = StepContext()
sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def compute(name: str, step: StepContext = STEP, **arguments: Any) -> NDArray[np.float32]:
    """The one output of an operator; its inferred type must be what it computes, its inputs unchanged."""
    operator = OPERATORS[name]
    before = {key: value.copy() for key, value in arguments.items() if isinstance(value, np.ndarray)}
    (output,) = operator.compute(step, arguments).values()
    for key, value in before.items():
        np.testing.assert_array_equal(arguments[key], value)
    assert output.dtype == np.float32
    types = {key: type_of(value) for key, value in arguments.items()}
    if not any(isinstance(value, list) for value in arguments.values()):
        (inferred,) = operator.infer_outputs(types).values()
        assert inferred == TensorType(output.shape, "float32")
    return output


def type_of(value: Any) -> Any:
    return TensorType(value.shape, str(value.dtype)) if isinstance(value, np.ndarray) else value


@given(sizes, sizes, sizes, seeds)
def test_embedding(tokens: int, rows: int, features: int, seed: int) -> None:
    table = normal(seed, rows, features)
    ids = np.random.default_rng(seed).integers(0, rows, (1, tokens), np.int32)
    output = compute("Embedding", input=ids, weight=table)
    assert [list(row) for row in output[0]] == [list(table[i]) for i in ids[0]]


@given(sizes, sizes, seeds, st.sampled_from([1e-6, 1e-2]))
def test_rms_norm(tokens: int, features: int, seed: int, eps: float) -> None:
    x, weight = normal(seed, 1, tokens, features), normal(seed + 1, features)
    expected = [
        [
            v / math.sqrt(sum(u * u for u in row) / features + eps) * w
            for v, w in zip(row, weight, strict=True)
        ]
        for row in x[0].astype(float)
    ]
    np.testing.assert_allclose(compute("RMSNorm", input=x, weight=weight, eps=eps)[0], expected, rtol=1e-5)


@given(sizes, sizes, seeds)
def test_rms_norm_with_an_offset_and_without_a_weight(tokens: int, features: int, seed: int) -> None:
    x, weight = normal(seed, 1, tokens, features), normal(seed + 1, features)
    shifted = compute("RMSNorm", input=x, weight=weight, eps=1e-6, offset=1.0)
    np.testing.assert_array_equal(shifted, compute("RMSNorm", input=x, weight=weight + np.float32(1), eps=1e-6))
    ones = np.ones(features, np.float32)
    alone = compute("RMSNorm", input=x, weight=None, eps=1e-6)
    np.testing.assert_array_equal(alone, compute("RMSNorm", input=x, weight=ones, eps=1e-6))
    with pytest.raises(ShapeError, match="an offset is added to a weight, and there is none"):
        compute("RMSNorm", input=x, weight=None, eps=1e-6, offset=1.0)


@given(sizes, st.integers(2, 7), seeds, st.sampled_from([1e-5, 1e-1]))
def test_layer_norm(tokens: int, features: int, seed: int, eps: float) -> None:
    x, gamma, beta = normal(seed, 1, tokens, features), normal(seed + 1, features), normal(seed + 2, features)
    output = compute("LayerNorm", input=x, gamma=gamma, beta=beta, axis=-1, eps=eps)
    for row, got in zip(x[0].astype(float).tolist(), output[0], strict=True):
        mean = sum(row) / features
        deviation = math.sqrt(sum((v - mean) ** 2 for v in row) / features + eps)
        expected = [(v - mean) / deviation * g + b for v, g, b in zip(row, gamma, beta, strict=True)]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match="axis must be the last one"):
        compute("LayerNorm", input=x, gamma=gamma, beta=beta, axis=1, eps=eps)


EACH = {
    "Sigmoid": lambda x: 1 / (1 + math.exp(-x)), "TanH": math.tanh, "Relu": lambda x: max(x, 0.0),
    "Relu2": lambda x: max(x, 0.0) ** 2, "Exp": math.exp,
}  # fmt: skip


@pytest.mark.parametrize("name", EACH)
def test_one_function_of_each_feature(name: str) -> None:
    x = 3 * normal(5, 1, 4, 5)
    expected = [[EACH[name](value) for value in row] for row in x[0].astype(float).tolist()]
    np.testing.assert_allclose(compute(name, input=x)[0], expected, rtol=1e-6)


def test_soft_cap() -> None:
    x = 9 * normal(6, 1, 4, 5)
    expected = [[2.5 * math.tanh(value / 2.5) for value in row] for row in x[0].astype(float).tolist()]
    np.testing.assert_allclose(compute("SoftCap", input=x, cap=2.5)[0], expected, rtol=1e-6)
    with pytest.raises(ShapeError, match="cap must be above 0, but it is 0"):
        OPERATORS["SoftCap"].infer(input=TensorType((1, 4, 5)), cap=0.0)


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


def test_rms_norm_over_each_head() -> None:
    x, weight = normal(1, 1, 3, 4, 6), normal(2, 6)
    whole = compute("RMSNorm", input=x, weight=weight, eps=1e-6)
    heads = compute("RMSNorm", input=x.reshape(1, 12, 6), weight=weight, eps=1e-6)
    np.testing.assert_array_equal(whole.reshape(1, 12, 6), heads)


@given(sizes, sizes, sizes, seeds, st.booleans())
def test_linear(tokens: int, inputs: int, outputs: int, seed: int, has_bias: bool) -> None:
    x, weight = normal(seed, 1, tokens, inputs), normal(seed + 1, outputs, inputs)
    bias = normal(seed + 2, outputs) if has_bias else None
    expected = [
        [
            sum(float(x[0, t, i]) * float(weight[o, i]) for i in range(inputs)) + (bias[o] if has_bias else 0)
            for o in range(outputs)
        ]
        for t in range(tokens)
    ]
    np.testing.assert_allclose(
        compute("Linear", input=x, weight=weight, bias=bias)[0], expected, rtol=1e-5, atol=1e-5
    )


@given(sizes, sizes, sizes, seeds)
def test_expand_head(tokens: int, heads: int, dim: int, seed: int) -> None:
    x = normal(seed, 1, tokens, heads * dim)
    output = compute("ExpandHead", input=x, headDim=dim)
    for t, h in np.ndindex(tokens, heads):
        assert list(output[0, t, h]) == list(x[0, t, h * dim : (h + 1) * dim])


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


@given(sizes, sizes, seeds, st.floats(-3, 3))
def test_add_to_and_mul_to(tokens: int, features: int, seed: int, alpha: float) -> None:
    a, b = normal(seed, 1, tokens, features), normal(seed + 1, 1, tokens, features)
    added = compute("AddTo", input0=a, input1=b, alpha=alpha)
    multiplied = compute("MulTo", input0=a, input1=b)
    for i in np.ndindex(a.shape):
        assert added[i] == pytest.approx(float(a[i]) + alpha * float(b[i]), abs=1e-5)
        assert multiplied[i] == pytest.approx(float(a[i]) * float(b[i]), rel=1e-6)


@given(
    st.lists(st.floats(-200, 200, width=32), min_size=2, max_size=8).filter(
        lambda values: len(values) % 2 == 0
    )
)
def test_silu_and_swiglu(numbers: list[float]) -> None:
    def silu(x: float) -> float:
        return x / (1 + math.exp(-x))

    x = np.float32([[numbers]])
    half = len(numbers) // 2
    assert compute("Silu", input=x)[0, 0] == pytest.approx([silu(v) for v in numbers], rel=1e-5, abs=1e-30)
    expected = [silu(gate) * up for gate, up in zip(numbers[:half], numbers[half:], strict=True)]
    assert compute("Swiglu", input=x)[0, 0] == pytest.approx(expected, rel=1e-5, abs=1e-30)


@pytest.mark.parametrize(
    ("config", "is_tanh"),
    [
        ({}, False),
        ({"hidden_act": "gelu"}, False),
        ({"hidden_act": "gelu_new"}, True),
        ({"hidden_act": "gelu_pytorch_tanh"}, True),
        ({"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"}, True),
        ({"hidden_act": "gelu", "hidden_activation": None, "model_type": "gemma"}, True),
        ({"hidden_act": "gelu", "hidden_activation": None, "model_type": "bert"}, False),
        ({"hidden_activation": "gelu", "model_type": "gemma2"}, False),
    ],
)
def test_gelu(config: dict[str, Any], is_tanh: bool) -> None:
    numbers = [-8.0, -3.0, -1.0, -0.1, 0.0, 0.5, 2.0, 9.0]
    if is_tanh:
        inner = [math.sqrt(2 / math.pi) * (x + 0.044715 * x**3) for x in numbers]
        expected = [0.5 * x * (1 + math.tanh(u)) for x, u in zip(numbers, inner, strict=True)]
    else:
        expected = [0.5 * x * math.erfc(-x / math.sqrt(2)) for x in numbers]
    output = compute("Gelu", StepContext(config=config), input=np.float32([[numbers]]))
    assert output[0, 0] == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_gelu_of_a_config_that_names_another_activation() -> None:
    with pytest.raises(GraphError, match="activation is 'silu': assign one of gelu"):
        compute("Gelu", StepContext(config={"hidden_act": "silu"}), input=np.float32([[[1]]]))


def test_silu_of_extremes_is_finite() -> None:
    with np.errstate(all="raise", under="ignore"):
        output = compute("Silu", input=np.float32([[[-3e38, -1e4, 0, 1e4, 3e38]]]))
    assert output.ravel().tolist() == pytest.approx([0, 0, 0, 1e4, 3e38])


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=5), sizes, seeds)
def test_split_last_token_states(sequences: list[tuple[int, int]], features: int, seed: int) -> None:
    lengths = [length for length, _ in sequences]
    wanted = tuple(min(sequence) for sequence in sequences)
    x = normal(seed, 1, sum(lengths), features)
    (output,) = (
        OPERATORS["SplitLastTokenStates"]
        .compute(StepContext(wants_logits=wanted), {"input": x, "seqLens": np.int32(lengths)})
        .values()
    )
    expected = []
    for number, count in enumerate(wanted):
        end = sum(lengths[: number + 1])
        expected += [x[0, at] for at in range(end - count, end)]
    assert output.shape == (1, len(expected), features)
    assert [list(row) for row in output[0]] == [list(row) for row in expected]


@given(st.lists(sizes, min_size=2, max_size=4), st.data(), seeds)
def test_split_cat_and_repeat(shape: list[int], data: st.DataObject, seed: int) -> None:
    x = normal(seed, *shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    end = data.draw(st.integers(1, size))
    start = data.draw(st.integers(0, end - 1))
    middle = compute("Split", input=x, axis=axis, start=start, end=end)
    np.testing.assert_array_equal(middle, np.take(x, range(start, end), axis))
    times = data.draw(st.integers(1, 3))
    repeated = compute("Repeat", input=x, axis=axis, repeatTimes=times)
    np.testing.assert_array_equal(repeated, np.take(x, list(range(size)) * times, axis))
    together = compute("Cat", input0=x, input1=middle, axis=axis)
    np.testing.assert_array_equal(together, np.take(x, [*range(size), *range(start, end)], axis))


def test_add_and_mul_take_weights_too() -> None:
    x = np.float32([[[1, -2]]])
    assert compute("Add", input=x, v=1.5).tolist() == [[[2.5, -0.5]]]
    assert compute("Mul", input=x, v=1.5).tolist() == [[[1.5, -3]]]
    weight = TensorType((3, 4), "bfloat16")
    assert OPERATORS["Add"].infer(input=weight, v=1.0) == TensorType((3, 4))
    with pytest.raises(ShapeError, match="must hold floating-point numbers"):
        OPERATORS["Mul"].infer(input=TensorType((1, Symbol.TOKENS), "int32"), v=1.0)


def test_cat_of_tensors_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="same shape but for axis 2"):
        OPERATORS["Cat"].infer(input0=TensorType((1, 2, 3)), input1=TensorType((1, 4, 3)), axis=-1)
    with pytest.raises(ShapeError, match="known only when a step runs"):
        tokens = TensorType((1, Symbol.TOKENS, 3))
        OPERATORS["Cat"].infer(input0=tokens, input1=tokens, axis=1)


def test_repeat_never() -> None:
    with pytest.raises(ShapeError, match="repeatTimes must be at least 1, but it is 0"):
        OPERATORS["Repeat"].infer(input=TensorType((1, 2, 3)), axis=0, repeatTimes=0)


def test_print_reports_name_shape_type_place_and_values() -> None:
    said: list[str] = []
    step = StepContext(report=said.append, names={"input": "hidden"}, where="model.py:7")
    assert Print.compute(step, {"input": np.float32([[[1, 2.5]]])}) == {}
    assert said == ["hidden [1, 1, 2] float32 (model.py:7)\n[[[1.  2.5]]]"]


def test_exit_names_the_line() -> None:
    with pytest.raises(EngineError, match=r"Exit\(\) at model.py:7 ended this step"):
        Exit.compute(StepContext(where="model.py:7"), {})
