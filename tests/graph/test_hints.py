"""Hints of errors: what is likely wrong where a file runs silently wrong, or where the first guess would mislead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.custom_file import load_graph_class
from tests.graph.small_graphs import CONFIG, TENSORS, Header, begin, check, end, error_of

HEADS = {"head_dim": 8, "num_attention_heads": 3, "num_key_value_heads": 3, "partial_rotary_factor": 0.5}
SQUARE = {**TENSORS, "q.weight": Header((24, 24))}


def rotating(operator: str, *sizes: int) -> Callable[[ComputeGraph], None]:
    """A build() that turns heads of 8 features by a table for 4 of them."""

    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        self.Linear(data["x"], self.weight["q.weight"], None, data["q"])
        self.ExpandHead(data["q"], 8)
        getattr(self, operator)(data["q"], data["positionIds"], data["sin"], data["cos"], *sizes)
        self.Flatten(data["q"])
        end(self, "q")

    return build


@pytest.mark.parametrize(
    "operator, wrong, right",
    [
        ("LlamaRotatePosition2DPart", (2, 2), (4, 4)),
        ("LlamaRotatePosition2DPart", (1, 4), (2, 4)),
        ("NearlyRotatePosition2D", (2,), (4,)),
        ("LlamaRotatePosition2D", (1,), (2,)),
    ],
)
def test_fewer_pairs_turn_than_the_table_is_for(
    operator: str, wrong: tuple[int, ...], right: tuple[int, ...]
) -> None:
    (note,) = check(rotating(operator, *wrong), {**CONFIG, **HEADS}, SQUARE).notes
    assert f"{operator} (operator 3) turns 1 pairs by a table of 2 angles, which are made for 4 features" in note
    assert note.endswith("so 4 may be meant.")
    assert check(rotating(operator, *right), {**CONFIG, **HEADS}, SQUARE).notes == []


def test_layers_that_one_line_builds_are_told_of_once() -> None:
    def build(self: ComputeGraph) -> None:
        turned = rotating("LlamaRotatePosition2DPart", 2, 2)
        for _ in range(3):
            turned(self)

    (note,) = [each for each in check(build, {**CONFIG, **HEADS}, SQUARE).notes if "pairs by a table" in each]
    assert "LlamaRotatePosition2DPart (operator 3) turns 1 pairs" in note


def capped(self: ComputeGraph) -> None:
    data = self.data
    begin(self)
    self.SplitLastTokenStates(data["x"], data["seqLens"], data["last"])
    self.Linear(data["last"], self.weight["lm_head.weight"], None, data["scores"])  # wrong
    self.SoftCap(data["scores"], 30.0, data["logits"])


def test_a_tied_head_behind_which_something_stands() -> None:
    says = error_of(capped, {**CONFIG, "tie_word_embeddings": True})
    assert says == (
        'Linear (operator 2) reads weight "lm_head.weight", which the checkpoint lacks; the embedding stands for it '
        'only where the operator writes data["logits"] itself: write weight["embed.weight"] here, or let it write '
        'data["logits"] and what follows change that in place.'
    )
    assert 'did you mean "head.weight"' in error_of(capped)  # where the config says that it is not tied


FILE = """
from ftllm.llm import ComputeGraph


def project(graph, name):
    graph.Linear(graph.data[name], graph.weight["q.weight"], None, graph.data["y"]){after}


class Model(ComputeGraph):
    def build(self):
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["x"])
        project(self, "{name}")
{more}

__model__ = Model
"""


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"name": "z"}, ':6: Linear (operator 1, called by build() in line 12) reads data "z"'),
        ({"after": "; graph.config[\"a\"]"}, ':6: called by build() in line 12: config.json has no entry "a"'),
        ({"after": "; graph.Lineer()"}, ':6: called by build() in line 12: there is no operator "Lineer"'),
        ({"after": "; 1 / 0"}, ":6: called by build() in line 12: Model.build() raised ZeroDivisionError"),
        ({"more": "        self.Silu(self.data['zz'], self.data['y'])"}, ':13: Silu (operator 2) reads data "zz"'),
        ({"more": "        1 / 0"}, ":13: Model.build() raised ZeroDivisionError"),
    ],
)
def test_errors_in_a_function_name_the_line_of_build_as_well(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    file = tmp_path / "model.py"
    file.write_text(FILE.format(**{"name": "x", "after": "", "more": ""} | changes))
    with pytest.raises(GraphError) as raised:
        check_graph(build_graph(load_graph_class(file), CONFIG), TENSORS)
    assert str(raised.value).startswith(f"{file}{says}")


@pytest.mark.parametrize(
    "body, says",
    [
        ('graph.Silu(graph.data["z"], graph.data["y"])', ':2: Silu (operator 1, {caller}) reads data "z"'),
        ("graph.Silou()", ':2: {caller}: there is no operator "Silou"'),
        ("graph.config['a']", ':2: {caller}: config.json has no entry "a"'),
        ("1 / 0", ":2: {caller}: Model.build() raised ZeroDivisionError"),
        ("''.join([1])", ":2: {caller}: Model.build() raised TypeError"),
    ],
)
def test_errors_in_a_function_of_another_file_name_both_files(tmp_path: Path, body: str, says: str) -> None:
    file, parts = tmp_path / "model.py", tmp_path / "parts.py"
    parts.write_text(f"def project(graph, name):\n    {body}\n")
    own = FILE.format(name="x", after="", more="").split("def project")[0] + "from parts import project\n\n\n"
    file.write_text(own + "class Model" + FILE.format(name="x", after="", more="").split("class Model")[1])
    line = file.read_text().split("project(self")[0].count("\n") + 1
    with pytest.raises(GraphError) as raised:
        check_graph(build_graph(load_graph_class(file), CONFIG), TENSORS)
    assert str(raised.value).startswith(f"{parts}{says.format(caller=f'called by build() at {file}:{line}')}")


def norm_without_its_bias(self: ComputeGraph) -> None:
    data = self.data
    begin(self)
    self.LayerNorm(data["x"], self.weight["norm.weight"], self.weight["norm.bias"], -1, data["y"])  # wrong
    end(self, "y")


def norm_with_a_bias_that_is_left_out(self: ComputeGraph) -> None:
    data = self.data
    begin(self)
    self.RMSNorm(data["x"], self.weight["norm.weight"], 1e-6, data["y"])
    end(self, "y")


def test_a_norm_that_has_no_bias_and_one_that_has() -> None:
    tensors = {**TENSORS, "norm.weight": Header((24,))}
    sentence = error_of(norm_without_its_bias, tensors=tensors)
    assert 'reads weight "norm.bias" as "beta", which the checkpoint lacks: a norm without a bias is' in sentence
    assert sentence.endswith("mostly RMSNorm, else LayerNorm with None.")
    held = {**tensors, "norm.bias": Header((24,))}
    (note,) = check(norm_with_a_bias_that_is_left_out, tensors=held).notes
    assert note.startswith("nothing reads norm.bias, beside what RMSNorm reads at ")
    assert note.endswith(": a norm with a bias is mostly LayerNorm.")
    assert not any("norm.bias" in note for note in check(norm_without_its_bias, tensors=held).notes)
