"""Suggestions for misspelt names."""

from __future__ import annotations

import pytest

from ftllm_nb.graph.nearest import did_you_mean, did_you_mean_operator, join_quoted, nearest_names, numbers_present


def test_the_nearest_comes_first() -> None:
    names = ["v_proj.weight", "q_proj.weight", "mlp.weight", "q_norm.weight"]
    assert nearest_names("q_prj.weight", names)[0] == "q_proj.weight"
    assert nearest_names("Q_PROJ.weight", names)[0] == "q_proj.weight"
    assert nearest_names("zzz", names) == []


def test_a_weight_of_the_same_layer_is_nearer_than_the_same_weight_of_another() -> None:
    names = [f"layers.{i}.{name}" for i in range(12) for name in ("up", "down", "gate")]
    assert nearest_names("layers.11.downn", names)[0] == "layers.11.down"
    assert nearest_names("layers.99.down", names, count=1)[0].endswith(".down")


def test_what_names_share_is_no_likeness() -> None:
    layer = "model.layers.0"
    names = [f"{layer}.self_attn.{name}.weight" for name in ("q_proj", "k_proj", "o_proj", "q_layernorm")]
    assert nearest_names(f"{layer}.input_layernorm.weight", names[:3]) == []
    assert nearest_names(f"{layer}.self_attn.q_prj.weight", names)[0] == names[0]
    assert names[3] not in nearest_names(f"{layer}.self_attn.v_proj.weight", names, count=9)
    others = ["model.head.weight", "model.decoder.norm.weight"]
    assert nearest_names("model.norm.weight", others) == others[1:]


def test_sentences() -> None:
    assert did_you_mean("x", []) == "."
    assert did_you_mean("hiden", ["hidden"]) == '; did you mean "hidden"?'
    assert join_quoted(["a"]) == '"a"'
    assert join_quoted(["a", "b", "c"], "or") == '"a", "b" or "c"'


@pytest.mark.parametrize(
    "name, meant",
    [
        ("Rope", '; did you mean "RopeEncoding" or "YarnRopeEncoding"?'),
        ("MoE", '; did you mean "MergeMOE"?'),
        ("LayerNorm2", '; did you mean "LayerNorm"?'),
        ("LlamaRMSNorm", '; did you mean "RMSNorm"?'),
        ("Lineer", '; did you mean "Linear"?'),
        ("Dropout", "."),
    ],
)
def test_operators_are_told_by_the_words_that_they_share(name: str, meant: str) -> None:
    known = "Repeat RopeEncoding YarnRopeEncoding MergeMOE L2Norm RMSNorm LayerNorm Linear Exp".split()
    assert did_you_mean_operator(name, known) == meant


def test_numbers_present() -> None:
    names = ["h.0.up", "h.10.up", "h.2.up", "h.2.down", "h..up", "h.x.up", "h.3.up.more"]
    assert numbers_present("h.7.up", names) == [0, 2, 10]
    assert numbers_present("norm", names) == []
