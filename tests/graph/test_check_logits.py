"""Mistakes about a graph's ends: logits, tied embeddings, the longest context; each becomes one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.graph.small_graphs import CONFIG, HIDDEN, TENSORS, VOCAB, Header, begin, check, end, error_of


def test_logits_that_no_operator_writes() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Silu(self.data["x"], self.data["logit"])  # wrong

    assert error_of(build) == 'no operator writes data["logits"], the output; did you mean "logit"?'


def test_empty_build() -> None:
    def build(self: ComputeGraph) -> None:
        pass

    with pytest.raises(GraphError, match=r'no operator writes data\["logits"\]'):
        check(build)


def test_logits_of_every_token() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["head.weight"], None, self.data["logits"])  # wrong

    sentence = error_of(build)
    assert "[1, tokens, 50]" in sentence and "SplitLastTokenStates" in sentence


def test_more_logits_than_tokens_in_the_embedding() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Linear(self.data["last"], self.weight["head.weight"], None, self.data["logits"])  # wrong

    tensors = TENSORS | {"head.weight": Header((VOCAB + 1, HIDDEN))}
    sentence = error_of(build, tensors=tensors)
    assert 'but the embedding "embed.weight" [50, 24] bfloat16 has fewer tokens' in sentence


def test_missing_output_weight_of_a_model_that_says_it_is_not_tied() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Linear(self.data["last"], self.weight["hed.weight"], None, self.data["logits"])  # wrong

    sentence = error_of(build)
    assert "config.json has tie_word_embeddings = false" in sentence
    assert 'did you mean "head.weight"' in sentence


def test_a_missing_weight_elsewhere_is_never_the_embedding() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["zzz"], None, self.data["y"])  # wrong

    config = {name: value for name, value in CONFIG.items() if name != "tie_word_embeddings"}
    assert "which the checkpoint lacks" in error_of(build, config)


def test_tied_embedding_of_another_width() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Split(self.data["x"], -1, 0, 8, self.data["x"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Linear(self.data["last"], self.weight["lm_head.weight"], None, self.data["logits"])  # wrong

    config = CONFIG | {"tie_word_embeddings": True}
    assert "weight takes 24 features, but input has 8" in error_of(build, config)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"max_position_embeddings": None}, 'assign config["max_positions"] = 4096 in build()'),
        (
            {"max_position_embeddings": None, "seq_length": 99},
            'config["max_positions"] = config["seq_length"]',
        ),
        ({"max_positions": 0}, 'config["max_positions"] must be a positive whole number, but it is 0'),
        ({"max_position_embeddings": "64"}, "must be a positive whole number, but it is '64'"),
        ({"max_position_embeddings": 10**30}, "must be at most 2147483647, but it is 1000000"),
    ],
)
def test_max_positions(entries: dict[str, Any], expected: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        end(self)

    with pytest.raises(GraphError) as raised:
        check(build, CONFIG | entries)
    assert expected in str(raised.value)


def test_a_misspelt_output_of_a_tied_model_is_not_blamed_on_the_weight() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Linear(self.data["x"], self.weight["lm_head.weight"], None, self.data["logit"])  # wrong

    config = {name: value for name, value in CONFIG.items() if name != "tie_word_embeddings"}
    assert error_of(build, config) == 'no operator writes data["logits"], the output; did you mean "logit"?'
