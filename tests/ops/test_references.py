"""Each operator's NumPy reference against a twin written as loops, and its shape rule against the result."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.errors import EngineError, GraphError
from ftllm_nb.graph.types import ShapeError, Symbol, TensorType
from ftllm_nb.ops.base import StepContext
from ftllm_nb.ops.exit import Exit
from ftllm_nb.ops.print import Print
from tests.ops.operator_runs import OPERATORS, compute, normal, seeds, sizes


@given(sizes, sizes, sizes, seeds)
def test_embedding(tokens: int, rows: int, features: int, seed: int) -> None:
    table = normal(seed, rows, features)
    ids = np.random.default_rng(seed).integers(0, rows, (1, tokens), np.int32)
    output = compute("Embedding", input=ids, weight=table)
    assert [list(row) for row in output[0]] == [list(table[i]) for i in ids[0]]
    np.testing.assert_array_equal(compute("EmbeddingDirect", input=ids, weight=table), output)
    beyond = compute("EmbeddingDirect", input=ids + rows, weight=table)
    assert [list(row) for row in beyond[0]] == [list(table[0])] * tokens


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
    "GeluNew": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
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
