"""Weights that are computed from tensors: how they are written, their shapes, what is refused, and their numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32, float32_as_bfloat16
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.json_format import graph_class_from_json
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.graph.types import TensorType
from ftllm_nb.graph.weight_values import computed_array, weight_value
from ftllm_nb.quantized_type import BlockedType, ElementType, QuantizedType
from tests.graph.small_graphs import CONFIG, HIDDEN, TENSORS, VOCAB, Header, begin, check, end, error_of

WEIGHT = WeightReference("w")


def test_a_computed_weight_reads_as_it_is_written() -> None:
    assert (1 + WEIGHT["."][3]).text == "(w.3 + 1)"
    assert (0.5 * WEIGHT.transposed()).text == "(w.transposed() * 0.5)"
    assert WEIGHT.rows(2, 5).reshaped(3, -1).text == "w.rows(2, 5).reshaped(3, -1)"
    assert 1 + WEIGHT == WEIGHT + 1 != WEIGHT * 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: WEIGHT + float("nan"), '"plus" of weight "w" needs a finite number, not nan.'),
        (lambda: WEIGHT * "2", "\"times\" of weight \"w\" needs a finite number, not '2'."),
        (lambda: WEIGHT + True, '"plus" of weight "w" needs a finite number, not True.'),
        (lambda: WEIGHT.rows(0.5, 2), '"rows" of weight "w" needs whole numbers, not 0.5.'),  # type: ignore[arg-type]
        (lambda: (1 + WEIGHT).reshaped(-1, -1), '"reshaped" of weight "(w + 1)" needs sizes of at least 1'),
        (lambda: WEIGHT.reshaped(), "needs sizes of at least 1, of which −1 may stand for one, not []."),
        (lambda: (1 + WEIGHT)[".bias"], "(w + 1) is computed, and has no name to append '.bias' to: index first"),
    ],
)
def test_what_is_written_wrong_is_said_at_its_line(make: Any, expected: str) -> None:
    with pytest.raises(GraphError) as raised:
        make()
    assert __file__ in str(raised.value) and expected in str(raised.value)


def value(reference: WeightReference, shape: tuple[int, ...], dtype: ElementType = "float32") -> Any:
    graph = ComputeGraph()
    graph.Exit()
    return weight_value(graph.calls[0], reference, Header(shape, dtype))


@pytest.mark.parametrize(
    ("reference", "shape", "dtype"),
    [
        (1 + WEIGHT, (6, 4), "bfloat16"), (WEIGHT.transposed(), (4, 6), "bfloat16"),
        (WEIGHT.rows(1, 3), (2, 4), "bfloat16"), (WEIGHT.reshaped(2, 3, 4), (2, 3, 4), "bfloat16"),
        (WEIGHT.reshaped(-1), (24,), "bfloat16"), (WEIGHT.reshaped(-1) * 2, (24,), "float32"),
        (WEIGHT.reshaped(2, 3, -1).transposed().rows(1, 2), (1, 4, 3), "bfloat16"),
        (WEIGHT.reshaped(2, 3, -1).part(1, 0, 2).part(-1, 1, 4), (2, 2, 3), "bfloat16"),
    ],
)  # fmt: skip
def test_types(reference: WeightReference, shape: tuple[int, ...], dtype: str) -> None:
    found = value(reference, (6, 4), "bfloat16")
    assert found.type == TensorType(shape, dtype)
    assert (found.name, found.tensor) == (reference.text, "w")


def test_numbers() -> None:
    stored = np.arange(24, dtype=np.float32).reshape(6, 4)
    for reference, expected in (
        (1 + WEIGHT * 0.5, 1 + stored / 2),
        ((1 + WEIGHT) * 0.5, (1 + stored) / 2),
        (WEIGHT.rows(2, 5).transposed(), stored[2:5].T),
        (WEIGHT.reshaped(2, -1), stored.reshape(2, 12)),
        (WEIGHT.part(1, 1, 3), stored[:, 1:3]),
        (WEIGHT.reshaped(2, 3, 4).part(-2, 2, 3), stored.reshape(2, 3, 4)[:, 2:3]),
    ):
        np.testing.assert_array_equal(computed_array(value(reference, (6, 4)), stored, "float32"), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_matrices_are_rounded_once_to_their_own_type_and_vectors_are_not(dtype: str) -> None:
    floats = np.random.default_rng(3).standard_normal((5, 7), np.float32)
    stored = float32_as_bfloat16(floats) if dtype == "bfloat16" else floats.astype(dtype)
    exact = bfloat16_as_float32(stored) if dtype == "bfloat16" else stored.astype(np.float32)
    computed = exact * np.float32(0.3) + np.float32(1)
    matrix = computed_array(value(WEIGHT * 0.3 + 1, (5, 7), dtype), stored, dtype)
    expected = float32_as_bfloat16(computed) if dtype == "bfloat16" else computed.astype(dtype)
    np.testing.assert_array_equal(matrix, expected)
    vector = computed_array(value(WEIGHT.reshaped(-1) * 0.3 + 1, (5, 7), dtype), stored, dtype)
    np.testing.assert_array_equal(vector, computed.reshape(-1))


def test_bfloat16_is_rounded_to_even_and_what_is_no_number_stays_none() -> None:
    bits = np.uint32([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0xFFFFFFFF, 0x7F7FFFFF])
    assert float32_as_bfloat16(bits.view(np.float32)).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80, 0x7FC0, 0x7F80]


def test_a_graph_of_computed_weights() -> None:
    """One value for one computation; tensors that are only computed with count as read."""

    def build(self: ComputeGraph) -> None:
        begin(self)
        for _ in range(2):
            self.RMSNorm(self.data["x"], 1 + self.weight["norm.weight"], 1e-6, self.data["x"])
        self.Linear(self.data["x"], self.weight["square.weight"].transposed(), None, self.data["x"])
        self.Linear(self.data["x"], 2 * self.weight["square.weight"], 1 + self.weight["no.bias"], self.data["x"])
        end(self)

    graph = check(build, tensors={**TENSORS, "square.weight": Header((HIDDEN, HIDDEN))})
    assert set(graph.weights) == {
        "embed.weight", "(norm.weight + 1)", "square.weight.transposed()", "(square.weight * 2)", "head.weight",
    }  # fmt: skip
    assert not {"norm.weight", "square.weight"} & set(graph.unread_tensors)
    norms = [node.inputs["weight"] for node in graph.nodes if node.operator.name == "RMSNorm"]
    assert norms[0] is norms[1]


def test_the_embedding_stands_for_a_missing_matrix_that_is_computed_with() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["x"])
        self.Linear(self.data["x"], 0.5 * self.weight["lm_head.weight"], None, self.data["logits"])

    graph = check(build, {**CONFIG, "tie_word_embeddings": True})
    assert graph.logits.type.shape[-1] == VOCAB
    assert set(graph.weights) == {"embed.weight", "(embed.weight * 0.5)"}


def test_a_matrix_that_lies_the_other_way_is_recognised() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["turned.weight"], None, self.data["x"])  # wrong

    sentence = error_of(build, tensors={**TENSORS, "turned.weight": Header((HIDDEN, 40))})
    assert "has 24, as many as it has rows: one stored as [in, out] needs .transposed()" in sentence


def test_errors_name_the_computation() -> None:
    def rows(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["q.weight"].rows(20, 25), None, self.data["x"])  # wrong

    assert error_of(rows) == (
        'Linear (operator 1) reads weight "q.weight.rows(20, 25)" of "q.weight" [24, 24], but rows 20 to 25 must be '
        "within the first axis: 0 ≤ start < end ≤ 24."
    )

    def shapes(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["layers.0.up.weight"].transposed(), None, self.data["x"])  # wrong

    assert 'weight is "layers.0.up.weight.transposed()" [24, 40] bfloat16' in error_of(shapes)

    def sizes(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["q.weight"].reshaped(7, -1), None, self.data["x"])  # wrong

    assert "576 numbers cannot have the shape [7, -1]" in error_of(sizes)


@pytest.mark.parametrize("stored", [QuantizedType.parse("int4g32_float16"), BlockedType("Q4_K")], ids=str)
def test_what_is_computed_from_a_quantized_matrix_is_float32(stored: ElementType) -> None:
    """From the floats that its numbers stand for, and no number of it is rounded again."""
    floats = np.random.default_rng(4).standard_normal((6, 4), np.float32)
    for reference, expected in ((WEIGHT.transposed(), floats.T), (1 + WEIGHT, 1 + floats)):
        found = value(reference, (6, 4), stored)
        assert found.type == TensorType(expected.shape, "float32")
        np.testing.assert_array_equal(computed_array(found, floats, stored), expected)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("transposed", 'must have "steps" that are a list'),
        (["transposed"], "must have steps that are lists, each beginning with one of plus, times, rows"),
        ([["sideways"]], "must have steps that are lists, each beginning with one of"),
        ([["rows", 1]], 'has the step "rows" with 1 numbers'),
        ([["rows", 1, "b"]], 'has the step "rows", which needs whole numbers, not \'b\''),
        ([["reshaped"]], 'has the step "reshaped", which needs sizes of at least 1'),
    ],
)
def test_malformed_json(steps: Any, expected: str) -> None:
    node = {"name": "w", "type": "weight", "steps": steps}
    text = json.dumps({"graph": [{"type": "Linear", "nodes": {"weight": node}}]})
    with pytest.raises(GraphError) as raised:
        graph_class_from_json(text, "graph.json")
    assert expected in str(raised.value)
