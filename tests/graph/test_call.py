"""Arguments by position and by name, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.references import DataReference, WeightReference
from tests.graph.small_graphs import error_of


def test_position_and_name_record_the_same() -> None:
    graph = ComputeGraph()
    data, weight = graph.data, graph.weight
    graph.RMSNorm(data["x"], weight["w"], 1e-5, data["y"])
    graph.RMSNorm(output=data["y"], eps=1e-5, weight=weight["w"], input=data["x"])
    graph.RMSNorm(data["x"], weight["w"], output=data["y"], eps=1e-5)
    first, *others = graph.calls
    assert all(other.arguments == first.arguments for other in others)
    assert first.arguments == {
        "input": DataReference("x"),
        "weight": WeightReference("w"),
        "eps": 1e-5,
        "output": DataReference("y"),
        "offset": 0.0,
    }


def test_defaults() -> None:
    graph = ComputeGraph()
    graph.AddTo(graph.data["x"], graph.data["y"])
    graph.AddTo(graph.data["x"], graph.data["y"], 2)
    assert [call.arguments["alpha"] for call in graph.calls] == [1.0, 2.0]


@pytest.mark.parametrize("number", [8, 8.0, np.int64(8), np.float32(8), Fraction(8)])
def test_whole_numbers(number: Any) -> None:
    """`hidden_size / num_heads` is a float in Python."""
    graph = ComputeGraph()
    graph.ExpandHead(graph.data["x"], number)
    value = graph.calls[0].arguments["headDim"]
    assert value == 8 and type(value) is int


@pytest.mark.parametrize("numbers", [[0, 1, 3, 2], (0, 1.0, np.int64(3), Fraction(2))])
def test_lists_of_whole_numbers(numbers: Any) -> None:
    graph = ComputeGraph()
    graph.Permute(graph.data["x"], numbers, graph.data["y"])
    value = graph.calls[0].arguments["axis"]
    assert value == (0, 1, 3, 2) and all(type(number) is int for number in value)


def test_calls_remember_where_they_were_written() -> None:
    graph = ComputeGraph()
    graph.Silu(graph.data["x"], graph.data["y"])
    (call,) = graph.calls
    assert call.file == __file__
    assert call.line == test_calls_remember_where_they_were_written.__code__.co_firstlineno + 2


def test_calls_from_a_helper_of_the_user_are_at_the_helper_s_line() -> None:
    graph = ComputeGraph()

    def helper() -> None:
        graph.Silu(graph.data["x"], graph.data["y"])

    helper()
    assert graph.calls[0].line == helper.__code__.co_firstlineno + 1


WRONG: list[tuple[Callable[[ComputeGraph], None], str]] = []


def wrong(expected: str) -> Callable[[Callable[[ComputeGraph], None]], None]:
    def add(build: Callable[[ComputeGraph], None]) -> None:
        WRONG.append((build, expected))

    return add


@wrong("Silu (operator 0) takes 2 arguments, but 3 were given: Silu(input, output).")
def too_many(self: ComputeGraph) -> None:
    self.Silu(self.data["x"], self.data["y"], 1)  # wrong


@wrong('Silu (operator 0) lacks its argument "output": Silu(input, output).')
def too_few(self: ComputeGraph) -> None:
    self.Silu(self.data["x"])  # wrong


@wrong('Silu (operator 0) has no parameter "out": Silu(input, output).')
def unknown_name(self: ComputeGraph) -> None:
    self.Silu(self.data["x"], out=self.data["y"])  # wrong


@wrong('Silu (operator 0) got "input" twice, by position and by name: Silu(input, output).')
def twice(self: ComputeGraph) -> None:
    self.Silu(self.data["x"], input=self.data["y"])  # wrong


@wrong('Silu (operator 0) takes data for "input", but got weight "x".')
def weight_for_data(self: ComputeGraph) -> None:
    self.Silu(self.weight["x"], self.data["y"])  # wrong


@wrong('Linear (operator 0) takes a weight for "weight", but got data "w".')
def data_for_weight(self: ComputeGraph) -> None:
    self.Linear(self.data["x"], self.data["w"], None, self.data["y"])  # wrong


@wrong('Linear (operator 0) takes a weight for "weight", but got None.')
def none_for_weight(self: ComputeGraph) -> None:
    self.Linear(self.data["x"], None, None, self.data["y"])  # wrong


@wrong('Silu (operator 0) takes data that is written for "output", but got the string "y": write data["y"].')
def string_for_data(self: ComputeGraph) -> None:
    self.Silu(self.data["x"], "y")  # wrong


@wrong('Linear (operator 0) takes a weight for "weight", but got the string "w": write weight["w"].')
def string_for_weight(self: ComputeGraph) -> None:
    self.Linear(self.data["x"], "w", None, self.data["y"])  # wrong


@wrong('Print (operator 0) takes data or a weight for "input", but got 3 (int).')
def number_for_either(self: ComputeGraph) -> None:
    self.Print(3)  # wrong


@wrong('Silu (operator 0) got data without a name for "input": write data["…"].')
def nameless(self: ComputeGraph) -> None:
    self.Silu(self.data, self.data["y"])  # wrong


@wrong('RMSNorm (operator 0) takes a number for "eps", but got the string "1e-6".')
def string_for_number(self: ComputeGraph) -> None:
    self.RMSNorm(self.data["x"], self.weight["w"], "1e-6", self.data["y"])  # wrong


@wrong('RMSNorm (operator 0) takes a finite float32 for "eps", but got nan.')
def nan(self: ComputeGraph) -> None:
    self.RMSNorm(self.data["x"], self.weight["w"], float("nan"), self.data["y"])  # wrong


@wrong('AddTo (operator 0) takes a finite float32 for "alpha", but got 1e+39.')
def beyond_float32(self: ComputeGraph) -> None:
    self.AddTo(self.data["x"], self.data["y"], 1e39)  # wrong


@wrong('ExpandHead (operator 0) takes a whole number for "headDim", but got 6.5.')
def fraction_for_whole_number(self: ComputeGraph) -> None:
    self.ExpandHead(self.data["x"], 13 / 2)  # wrong


@wrong('ExpandHead (operator 0) takes a whole number for "headDim", but got True (bool).')
def truth_for_whole_number(self: ComputeGraph) -> None:
    self.ExpandHead(self.data["x"], True)  # wrong


@wrong("a tensor's name is made of strings and whole numbers, but it was indexed with 1.5.")
def index(self: ComputeGraph) -> None:
    self.Silu(self.data["x"][1.5], self.data["y"])  # wrong


@wrong("data[…] and weight[…] are names, not collections: build() cannot ask which tensors exist.")
def membership(self: ComputeGraph) -> None:
    assert "lm_head.weight" in self.weight  # wrong


@wrong("data[…] and weight[…] are names, not collections: build() cannot ask which tensors exist.")
def iteration(self: ComputeGraph) -> None:
    list(self.weight["model.layers."])  # wrong


@wrong('Permute (operator 0) takes a list of whole numbers for "axis", but got 2 (int).')
def number_for_list(self: ComputeGraph) -> None:
    self.Permute(self.data["x"], 2, self.data["x"])  # type: ignore[arg-type]  # wrong


@wrong('Permute (operator 0) takes a whole number for "axis", but got 0.5.')
def fraction_in_list(self: ComputeGraph) -> None:
    self.Permute(self.data["x"], [0, 1, 0.5], self.data["x"])  # type: ignore[list-item]  # wrong


@wrong('Permute (operator 0) takes a whole number for "axis", but got the string "x".')
def string_in_list(self: ComputeGraph) -> None:
    self.Permute(self.data["x"], [0, "x"], self.data["x"])  # type: ignore[list-item]  # wrong


WHERE_OPERATORS_STAND = (
    "All that there are stand in docs/operators.md; how to write one, in docs/custom_model.md#operators-of-your-own."
)


@wrong('there is no operator "RmsNorm"; did you mean "RMSNorm", "RMSNormPart" or "GatedRMSNorm"? '
       f"{WHERE_OPERATORS_STAND}")
def unknown_operator(self: ComputeGraph) -> None:
    self.RmsNorm(self.data["x"], self.weight["w"], 1e-6, self.data["y"])  # wrong


@wrong(f'there is no operator "Zzzz". {WHERE_OPERATORS_STAND}')
def unlike_any_operator(self: ComputeGraph) -> None:
    self.Zzzz(self.data["x"])  # wrong


@pytest.mark.parametrize(("build", "expected"), WRONG, ids=[build.__name__ for build, _ in WRONG])
def test_wrong(build: Callable[[ComputeGraph], None], expected: str) -> None:
    assert error_of(build) == expected


def test_names_grow_by_indexing() -> None:
    weight = ComputeGraph().weight
    assert weight["model.layers."][3][".mlp.up_proj.weight"] == WeightReference(
        "model.layers.3.mlp.up_proj.weight"
    )
    assert weight == WeightReference("")


def test_a_loop_over_a_damaged_config_ends() -> None:
    graph = ComputeGraph()
    graph.Exit()
    graph.calls *= 200_000
    with pytest.raises(GraphError, match="more than 200000 operators"):
        graph.Exit()
