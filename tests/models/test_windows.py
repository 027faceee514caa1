"""Which layers slide, and which turn and how, by what a config says."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.ir import CheckedGraph
from tests.graph.small_graphs import CONFIG
from tests.models.small_configs import GEMMA, MORE, checked

SLIDING = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}


def windows(graph: CheckedGraph) -> list[int | float]:
    """The window of each layer's attention, 0 for none."""
    return [node.attributes["window"] for node in graph.nodes if node.operator.name == "FusedAttention"]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (SLIDING, [0, 20]),
        (SLIDING | {"max_window_layers": 0}, [20, 20]),
        (SLIDING | {"layer_types": ["full_attention", "sliding_attention"], "max_window_layers": 2}, [0, 20]),
        (SLIDING | {"layer_types": ["sliding_attention", "attention"]}, [20, 0]),
        # 4096 positions where the size is absent.
        ({"use_sliding_window": True, "max_window_layers": 0}, [4096, 4096]),
    ],
    ids=str,
)
def test_layers_slide_that_the_config_says(entries: dict[str, Any], expected: list[int]) -> None:
    graph = checked(CONFIG | entries)
    assert windows(graph) == expected
    assert (graph.max_positions, graph.notes) == (64, [])


@pytest.mark.parametrize(
    "entries",
    [
        {"use_sliding_window": False, "sliding_window": 20, "max_window_layers": 0},
        {"sliding_window": 20, "max_window_layers": 0},
        SLIDING | {"max_window_layers": 2},
        # transformers takes 28 layers for those that do not slide.
        {"use_sliding_window": True, "sliding_window": 20},
        SLIDING | {"sliding_window": None},
        SLIDING | {"layer_types": ["full_attention"] * 2},
        SLIDING | {"use_sliding_window": None},
    ],
    ids=str,
)
def test_windows_that_limit_nothing(entries: dict[str, Any]) -> None:
    graph = checked(CONFIG | entries)
    assert windows(graph) == [0, 0]
    assert (graph.max_positions, graph.notes) == (64, [])


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (SLIDING | {"sliding_window": 0}, "sliding_window must be a whole number of at least 1, but it is 0"),
        (SLIDING | {"sliding_window": "20"}, "sliding_window must be a whole number"),
        (SLIDING | {"use_sliding_window": "false"}, "use_sliding_window must be true or false, but it is 'false'"),
        (SLIDING | {"max_window_layers": -1}, "max_window_layers must be a whole number of at least 0"),
        (SLIDING | {"layer_types": ["full_attention"]}, "the kinds of 1 layers, but its num_hidden_layers is 2"),
        (SLIDING | {"layer_types": ["full_attention", 1]}, "layer_types must be a list of names"),
        (SLIDING | {"layer_types": ["conv", "full_attention"]}, "layer_types has 'conv' layers; this architecture"),
        (
            {"layer_types": ["sliding_attention"] * 2, "sliding_window": 20},
            "its sliding_window gives them no window, or its use_sliding_window is false",
        ),
    ],
)
def test_windows_that_are_wrong(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GraphError) as raised:
        checked(CONFIG | entries)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("model_type", ["cohere2", "olmo3", "gemma3n_text", "gemma4_text"])
def test_a_window_that_is_null_is_none(model_type: str) -> None:
    """An absent one is the architecture's own; transformers fails at null."""
    config = CONFIG | MORE.get(model_type, {}) | {"model_type": model_type, "num_hidden_layers": 6}
    assert max(windows(checked(config))) >= 512
    with pytest.raises(GraphError, match=r'"sliding_attention" layers, but its sliding_window gives them none\.'):
        checked(config | {"sliding_window": None})


@pytest.mark.parametrize("model_type", ["cohere2", "olmo3", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text"])
def test_kinds_of_layers_that_nobody_knows(model_type: str) -> None:
    """They are said to be unknown, not to lack a rotation."""
    config = CONFIG | MORE.get(model_type, {}) | {"model_type": model_type, "layer_types": ["mamba", "full_attention"]}
    with pytest.raises(GraphError, match=r"layer_types has 'mamba' layers; this architecture has \"full_att"):
        checked(config)


@pytest.mark.parametrize("entries", [{"sliding_window": 20}, {"layer_types": ["sliding_attention"] * 2}], ids=str)
def test_llama_has_no_windows(entries: dict[str, Any]) -> None:
    """transformers computes none, and yet its cache keeps no more than a window."""
    with pytest.raises(GraphError, match="which the architecture 'llama' does not do"):
        checked(CONFIG | {"model_type": "llama"} | entries)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"sliding_window_pattern": "LLG"}, [8, 8, 0, 8, 8, 0]),
        ({"sliding_window_pattern": "LLLG"}, [8, 8, 8, 0, 8, 8]),
        ({"sliding_window_pattern": 2}, [8, 0] * 3),
        ({}, [8, 8, 8, 0, 8, 8]),
        ({"sliding_window_pattern": "LG", "layer_types": ["full_attention"] * 6}, [0] * 6),
    ],
    ids=str,
)
@pytest.mark.parametrize("model_type", ["exaone4", "cohere2"])
def test_patterns_of_layers(model_type: str, entries: dict[str, Any], expected: list[int]) -> None:
    config = CONFIG | MORE[model_type] | {"model_type": model_type, "num_hidden_layers": 6, "sliding_window": 8}
    assert windows(checked(config | {"layer_types": None} | entries)) == expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("LLG", "sliding_window_pattern 'LLG' is for 3 layers, but its num_hidden_layers is 2."),
        ("LXG", "sliding_window_pattern must be a whole number, or letters L and G for layers"),
        ("", "sliding_window_pattern must be a whole number, or letters"),
        (0, "sliding_window_pattern must be a whole number of at least 1, but it is 0."),
        (1.5, "sliding_window_pattern must be a whole number of at least 1"),
    ],
)
@pytest.mark.parametrize("model_type", ["exaone4", "cohere2", "gemma3_text"])
def test_patterns_that_are_wrong(model_type: str, pattern: Any, said: str) -> None:
    config = CONFIG | MORE[model_type] | {"model_type": model_type, "sliding_window": 8, "layer_types": None}
    with pytest.raises(GraphError, match=said):
        checked(config | {"sliding_window_pattern": pattern})


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, [0] * 6),
        ({"use_sliding_window": True}, [0, 0, 0, 8, 0, 0]),
        ({"use_sliding_window": True, "no_rope_layers": [0, 1] * 3}, [8, 0] * 3),
        ({"use_sliding_window": True, "layer_types": ["full_attention", "sliding_attention"] * 3}, [0, 8] * 3),
    ],
    ids=str,
)
def test_smollm3_slides_where_it_does_not_turn(entries: dict[str, Any], expected: list[int]) -> None:
    config = CONFIG | {"model_type": "smollm3", "num_hidden_layers": 6, "sliding_window": 8}
    assert windows(checked(config | entries)) == expected


YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "attention_factor": 1.2}


@pytest.mark.parametrize(
    "entries",
    [
        {"rope_scaling": YARN, "rope_theta": 5e5},
        {"rope_scaling": YARN},
        {"rope_scaling": {"type": "yarn", **{name: YARN[name] for name in YARN if name != "rope_type"}}},
        {"rope_parameters": YARN | {"rope_theta": 5e5}},
        {"rope_parameters": {"full_attention": YARN | {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 5e5}}},
    ],
    ids=str,
)
def test_olmo3_scales_the_layers_that_see_everything(entries: dict[str, Any]) -> None:
    """Its published configs have one section for both kinds."""
    kinds = ["sliding_attention", "full_attention"]
    rope = checked(CONFIG | {"model_type": "olmo3", "layer_types": kinds, "sliding_window": 8} | entries).rope
    assert {name: (type(table.type).__name__, table.base) for name, table in rope.items()} == {
        "sliding_attention": ("Default", 5e5), "full_attention": ("Yarn", 5e5)
    }  # fmt: skip


def test_gemma3_s_scaling_under_its_earlier_name() -> None:
    scaling = {"type": "linear", "factor": 8.0}
    config = CONFIG | GEMMA | {"model_type": "gemma3_text", "rope_scaling": scaling, "num_hidden_layers": 6}
    assert {name: type(table.type).__name__ for name, table in checked(config).rope.items()} == {
        "sliding_attention": "Default", "full_attention": "Linear"
    }  # fmt: skip
