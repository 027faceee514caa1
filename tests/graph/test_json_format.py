"""fastllm's JSON: its exact form, the way back, and malformed graphs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.call import bind
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.json_format import graph_class_from_json
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.references import ConfigReference, DataReference, WeightReference
from ftllm_nb.graph.weight_steps import Part, Plus, Reshaped, Rows, Times, Transposed
from ftllm_nb.models import graph_class
from ftllm_nb.ops.base import Kind, Parameter
from tests.graph.small_graphs import CONFIG


def test_the_form() -> None:
    graph = ComputeGraph({"hidden_size": 8}, {"t": 1}, {"g": 2})
    data, weight = graph.data, graph.weight
    graph.Embedding(data["inputIds"], weight["embed"], data["x"])
    graph.RMSNorm(data["x"], weight["layers."][0][".norm"], 1e-6, data["x"])
    graph.ExpandHead(data["x"], 4)
    graph.Exit()
    assert json.loads(str(graph)) == {
        "graph": [
            {
                "type": "Embedding",
                "nodes": {
                    "input": {"name": "inputIds", "type": "data"},
                    "weight": {"name": "embed", "type": "weight"},
                    "output": {"name": "x", "type": "data"},
                },
            },
            {
                "type": "RMSNorm",
                "nodes": {
                    "input": {"name": "x", "type": "data"},
                    "weight": {"name": "layers.0.norm", "type": "weight"},
                    "eps": {"name": "", "type": "constant.float", "value": 1e-6},
                    "output": {"name": "x", "type": "data"},
                },
            },
            {
                "type": "ExpandHeads",
                "nodes": {
                    "input": {"name": "x", "type": "data"},
                    "headDim": {"name": "", "type": "constant.int", "value": 4},
                },
            },
            {"type": "Exit", "nodes": {}},
        ],
        "config": {"hidden_size": 8},
        "tokenizer_config": {"t": 1},
        "generation_config": {"g": 2},
    }


def round_trip(graph: ComputeGraph) -> ComputeGraph:
    return build_graph(graph_class_from_json(str(graph), "graph.json"), {})


def assert_equal(graph: ComputeGraph, other: ComputeGraph) -> None:
    assert other.calls == graph.calls
    for name in ("config", "tokenizer_config", "generation_config"):
        assert getattr(other, name) == getattr(graph, name)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


sizes = st.integers(1, 9)
floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
weight_steps = st.one_of(
    st.builds(Plus, floats), st.builds(Times, floats), st.builds(Rows, sizes, sizes), st.just(Transposed()),
    st.builds(Part, sizes, sizes, sizes),
    st.builds(Reshaped, st.lists(sizes, min_size=1, max_size=4).map(tuple)),
)  # fmt: skip


def arguments_of(parameter: Parameter) -> st.SearchStrategy[object]:
    steps = st.lists(weight_steps, max_size=3).map(tuple)
    data, weights = names.map(DataReference), st.builds(WeightReference, names, steps)
    if parameter.kind is Kind.INT:
        return st.integers() | names.map(ConfigReference)
    if parameter.kind is Kind.INTS:
        return st.lists(st.integers(-1, 9)).map(tuple)
    if parameter.kind is Kind.FLOAT:
        return floats | names.map(ConfigReference)
    if parameter.kind is Kind.WEIGHT:
        return weights
    if parameter.kind is Kind.WEIGHTS:
        return st.lists(weights, min_size=1, max_size=3)
    if parameter.kind is Kind.OPTIONAL_WEIGHT:
        return weights | st.none()
    return data | weights if parameter.kind is Kind.INPUT_OR_WEIGHT else data


calls = st.sampled_from(list(public_operators().values())).flatmap(
    lambda operator: st.tuples(
        st.just(operator),
        st.fixed_dictionaries({parameter.name: arguments_of(parameter) for parameter in operator.parameters}),
    )
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
configs = st.dictionaries(
    names,
    st.recursive(st.none() | st.booleans() | numbers | names, lambda values: st.lists(values, max_size=3)),
)


@given(st.lists(calls, max_size=6), configs, configs)
def test_any_program_comes_back(
    program: list[Any], config: dict[str, Any], generation: dict[str, Any]
) -> None:
    graph = ComputeGraph(config, None, generation)
    for operator, arguments in program:
        graph.calls.append(bind(operator, (), arguments, len(graph.calls), None, None))
    again = round_trip(graph)
    assert_equal(graph, again)
    assert str(again) == str(graph)


def test_an_architecture_comes_back() -> None:
    graph = build_graph(graph_class(CONFIG), CONFIG)
    assert_equal(graph, round_trip(graph))


def test_the_folder_s_config_fills_what_the_json_leaves_out() -> None:
    model = graph_class_from_json('{"graph": [], "config": {"max_positions": 8}}', "graph.json")
    graph = build_graph(model, {"max_positions": 4, "vocab_size": 5}, {"t": 1})
    assert graph.config == {"max_positions": 8, "vocab_size": 5}
    assert graph.tokenizer_config == {"t": 1}


def test_two_builds_share_nothing() -> None:
    model = graph_class_from_json('{"graph": [], "config": {"rope_scaling": {}}}', "graph.json")
    first, second = build_graph(model, {}), build_graph(model, {})
    first.config["rope_scaling"]["factor"] = 2
    assert second.config == {"rope_scaling": {}}


def test_numpy_numbers_in_the_config() -> None:
    assert json.loads(str(ComputeGraph({"a": np.float64(1.5), "b": np.int32(2)})))["config"] == {
        "a": 1.5,
        "b": 2,
    }
    with pytest.raises(GraphError, match=r"the config holds .* which JSON cannot express"):
        str(ComputeGraph({"a": {1, 2}}))


def silu(**nodes: Any) -> str:
    return json.dumps({"graph": [{"type": "Exit"}, {"type": "Silu", "nodes": nodes}]})


X = {"name": "x", "type": "data"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "graph.json:1: no valid JSON: Expecting value"),
        ('{\n"graph": [}', "graph.json:2: no valid JSON"),
        ("[]", 'graph.json: no graph: expected a JSON object whose "graph" is a list'),
        ('{"config": {}}', "graph.json: no graph"),
        ('{"graph": [], "config": []}', None),
        ('{"graph": [], "config": [1]}', 'graph.json: "config" must be a JSON object'),
        ('{"graph": [3]}', 'graph.json: operator 0 must be an object with a "type"'),
        (
            '{"graph": [{"type": "Siluu"}]}',
            'graph.json: operator 0 has the unknown type "Siluu"; did you mean "Silu" or "Swiglu"?',
        ),
        ('{"graph": [{"type": "ExpandHead"}]}', 'did you mean "ExpandHeads"?'),
        (
            '{"graph": [{"type": "Silu", "nodes": []}]}',
            'graph.json: Silu (operator 0): "nodes" must be an object',
        ),
        (silu(input=X), 'graph.json: Silu (operator 1) lacks its argument "output"'),
        (silu(input=X, output=X, more=X), 'graph.json: Silu (operator 1) has no parameter "more"'),
        (silu(input="x", output=X), 'graph.json: Silu (operator 1): "input" must be an object'),
        (silu(input={"type": "data"}, output=X), '"input" must have a "name" that is a string'),
        (silu(input={"name": "x", "type": "tensor"}, output=X), '"input" has the unknown type "tensor"'),
        (silu(input={"name": "x", "type": "weight"}, output=X), 'takes data for "input", but got weight "x"'),
        (silu(input={"type": "constant.int"}, output=X), '"input" is a constant.int without a "value"'),
        (
            silu(input={"type": "constant.int", "value": 3}, output=X),
            'takes data for "input", but got 3 (int)',
        ),
        ('{"graph": ' + "[" * 100_000, "no valid JSON"),
    ],
)
def test_malformed(text: str, expected: str | None) -> None:
    if expected is None:
        graph_class_from_json(text, "graph.json")
        return
    with pytest.raises(GraphError) as raised:
        graph_class_from_json(text, "graph.json")
    assert expected in str(raised.value)
