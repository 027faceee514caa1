"""Every mistake in a build() becomes one sentence with the user's file and line."""

from __future__ import annotations

import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.graph.small_graphs import (
    CONFIG,
    HEAD_DIM,
    HIDDEN,
    TENSORS,
    Header,
    begin,
    check,
    end,
    error_of,
    project,
)


def test_misspelt_weight_suggests_the_nearest_of_the_checkpoint() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["q.wieght"], self.weight["q.bias"], self.data["q"])  # wrong

    sentence = error_of(build)
    assert sentence.startswith('Linear (operator 1) reads weight "q.wieght" as "weight"')
    assert 'did you mean "q.weight"' in sentence


def test_weight_of_a_layer_that_the_checkpoint_lacks_names_the_layers_that_it_has() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for i in range(3):
            up = self.weight["layers."][i][".up"]
            self.Linear(self.data["x"], up[".weight"], up[".bias"], self.data["up"])  # wrong

    assert "in layers 0 to 1 only" in error_of(build)


def test_misspelt_weight_of_a_layer_suggests_the_same_layer() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["layers.1.upp.weight"], None, self.data["up"])  # wrong

    assert error_of(build).endswith('did you mean "layers.1.up.weight"?')


def test_misspelt_data_suggests_the_nearest_that_was_written() -> None:
    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["hiddenStates"])
        self.Silu(self.data["hidenStates"], self.data["y"])  # wrong

    assert error_of(build) == (
        'Silu (operator 1) reads data "hidenStates" as "input", which no operator has written; '
        'did you mean "hiddenStates"?'
    )


def test_misspelt_input_suggests_the_input() -> None:
    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIDs"], self.weight["embed.weight"], self.data["x"])  # wrong

    assert 'did you mean "inputIds"' in error_of(build)


def test_data_that_is_written_only_later_names_where() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Silu(self.data["gate"], self.data["y"])  # wrong
        self.Silu(self.data["x"], self.data["gate"])

    sentence = error_of(build)
    assert "which is written only later, by Silu (operator 2) at " in sentence


@pytest.mark.parametrize("name", ["inputIds", "sin", "attentionMask", "pastKey.3"])
def test_inputs_cannot_be_written(name: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Silu(self.data["x"], self.data[name])  # wrong

    assert error_of(build).startswith(
        f'Silu (operator 1) writes data "{name}" as "output", but that is an input'
    )


def test_inputs_cannot_be_changed_in_place() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.AddTo(self.data["sin"], self.data["x"])  # wrong

    assert 'writes data "sin"' in error_of(build)


def test_data_type_as_may_cast_an_input() -> None:
    def build(self: ComputeGraph) -> None:
        self.DataTypeAs(self.data["attentionMask"], self.data["atype"])
        begin(self)
        end(self)

    assert [node.operator.name for node in check(build).nodes] == [
        "Embedding",
        "SplitLastTokenStates",
        "Linear",
    ]


def test_data_type_as_needs_atype() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.DataTypeAs(self.data["x"], self.data["inputIds"])  # wrong

    assert 'input1 must be data["atype"]' in error_of(build)


def test_linear_of_another_width_names_tensors_shapes_and_config() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["layers.0.up.weight"], None, self.data["up"])
        self.Linear(self.data["up"], self.weight["q.weight"], None, self.data["q"])  # wrong

    assert error_of(build) == (
        "Linear (operator 2) weight takes 24 features, but input has 40: "
        'input is data "up" [1, tokens, 40] float32, weight is "q.weight" [24, 24] bfloat16; '
        "config.json has hidden_size = 24, intermediate_size = 40."
    )


def test_bias_of_another_size() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["q.weight"], self.weight["v.bias"], self.data["q"])  # wrong

    assert "bias must have shape [24]" in error_of(build)


def test_norm_of_another_size() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.RMSNorm(self.data["x"], self.weight["v.bias"], 1e-6, self.data["x"])  # wrong

    assert "weight must have shape [24]" in error_of(build)


def test_operands_of_different_shapes() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        project(self, "q")
        self.MulTo(self.data["x"], self.data["q"])  # wrong

    sentence = error_of(build)
    assert "input1 must have input0's shape, or that of its first axes" in sentence
    assert "[1, tokens, 24]" in sentence and "[1, tokens, 6, 4]" in sentence


def test_head_dim_that_does_not_divide() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.ExpandHead(self.data["x"], 7)  # wrong

    assert "headDim 7 does not divide the input's 24 features" in error_of(build)


def test_rotation_before_expand_head() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        data = self.data
        self.LlamaRotatePosition2D(data["x"], data["positionIds"], data["sin"], data["cos"], 4)  # wrong

    assert "input must have 4 axes, but it has 3: ExpandHead makes" in error_of(build)


@pytest.mark.parametrize(
    ("sin", "cos", "expected"),
    [
        ("cos", "sin", 'the same name, but got data["cos"] as "sin" and data["sin"] as "cos".'),
        ("sin", "sin", 'the same name, but got data["sin"] as "sin" and data["sin"] as "cos".'),
        ("sin.tilted", "cos.tilted", 'reads data["sin.tilted"] as "sin", but config.json describes no such rotation'),
    ],
)
def test_tables_of_a_rotation_that_do_not_belong_together(sin: str, cos: str, expected: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        data = self.data
        self.ExpandHead(data["x"], HEAD_DIM)
        self.LlamaRotatePosition2D(data["x"], data["positionIds"], data[sin], data[cos], HEAD_DIM)  # wrong

    sentence = error_of(build)
    assert sentence.startswith("LlamaRotatePosition2D (operator 2) ") and expected in sentence


def test_rotation_of_larger_heads_than_the_tables() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        data = self.data
        self.ExpandHead(data["x"], 12)
        self.LlamaRotatePosition2D(data["x"], data["positionIds"], data["sin"], data["cos"], 6)  # wrong

    sentence = error_of(build)
    assert "input needs 6 angles a position" in sentence and "LlamaRotatePosition2DPart" in sentence


@pytest.mark.parametrize(
    ("axis", "start", "end", "expected"),
    [
        (3, 0, 1, "axis 3 does not exist: the tensor has 3 axes"),
        (-1, 4, 4, "0 ≤ start < end ≤ 24"),
        (-1, 0, 25, "0 ≤ start < end ≤ 24"),
        (-1, -1, 4, "0 ≤ start < end ≤ 24"),
        (1, 0, 1, "axis 1 of [1, tokens, 24] float32 is known only when a step runs"),
    ],
)
def test_split(axis: int, start: int, end: int, expected: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Split(self.data["x"], axis, start, end, self.data["y"])  # wrong

    assert expected in error_of(build)


def test_swiglu_of_an_odd_size() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Split(self.data["x"], -1, 0, 5, self.data["y"])
        self.Swiglu(self.data["y"], self.data["y"])  # wrong

    assert "input must have an even number of features, but it has 5" in error_of(build)


def test_embedding_of_activations() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Embedding(self.data["x"], self.weight["embed.weight"], self.data["y"])  # wrong

    assert "input must be token ids (inputIds), but it holds float32" in error_of(build)


def test_linear_on_token_ids() -> None:
    def build(self: ComputeGraph) -> None:
        self.Linear(self.data["inputIds"], self.weight["q.weight"], None, self.data["q"])  # wrong

    assert "input must be float32 data, but it holds int32" in error_of(build)


def test_printing_what_holds_no_values() -> None:
    def build(self: ComputeGraph) -> None:
        self.Print(self.data["attentionMask"])  # wrong

    assert "input holds no values" in error_of(build)


@pytest.mark.parametrize(("entry", "value"), [("hidden_size", 32), ("vocab_size", 51)])
def test_embedding_that_contradicts_the_config(entry: str, value: int) -> None:
    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["x"])  # wrong

    assert error_of(build, CONFIG | {entry: value}) == (
        'Embedding (operator 0) reads weight "embed.weight" [50, 24] bfloat16, but config.json has '
        f"{entry} = {value}."
    )


def test_weights_of_unsupported_types() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["q.weight"], None, self.data["q"])  # wrong

    tensors = TENSORS | {"q.weight": Header((HIDDEN, HIDDEN), "I8")}
    assert 'reads weight "q.weight", which the checkpoint stores as I8' in error_of(build, tensors=tensors)
