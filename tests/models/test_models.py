"""Architectures are found by file name, build from their config alone, and say what is not supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ftllm_nb.models
from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models import graph_class, supported_architectures
from tests.graph.small_graphs import CONFIG, Header


def checked(config: dict[str, Any]) -> CheckedGraph:
    """The graph on a checkpoint that holds exactly what the architecture declares."""
    graph = build_graph(graph_class(config), config)
    return check_graph(graph, {name: Header(shape) for name, shape in graph.weight_shapes().items()})


def test_supported_architectures_are_the_files() -> None:
    files = {path.stem for path in Path(ftllm_nb.models.__path__[0]).glob("*.py")}
    assert set(supported_architectures()) == files - {"__init__"} >= {"llama", "qwen2"}


@pytest.mark.parametrize("model_type", supported_architectures())
@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"tie_word_embeddings": True},
        {"head_dim": 10},
        {"head_dim": None},
        {"num_key_value_heads": None},
        {"attention_bias": True, "mlp_bias": True},
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}},
        {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}},
        {"rope_parameters": {"rope_type": "proportional", "partial_rotary_factor": 0.5}},
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0}}},
    ],
    ids=str,
)
def test_every_declared_tensor_is_read(model_type: str, entries: dict[str, Any]) -> None:
    graph = checked(CONFIG | {"model_type": model_type} | entries)
    assert graph.unread_tensors == []
    assert graph.notes == []
    assert list(graph.caches) == [0, 1]
    head_dim = entries.get("head_dim") or 4
    assert all(cache.key_dim == cache.value_dim == head_dim for cache in graph.caches.values())
    assert graph.rope is not None and graph.rope.dim == head_dim
    assert graph.vocab_size == CONFIG["vocab_size"]


@pytest.mark.parametrize("model_type", supported_architectures())
@pytest.mark.parametrize(
    "entries",
    [
        {"partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "partial_rotary_factor": 0.5},
    ],
    ids=str,
)
def test_heads_that_are_rotated_in_part(model_type: str, entries: dict[str, Any]) -> None:
    """transformers rotates whole heads of these architectures, or fails."""
    with pytest.raises(GraphError, match=r"rotates whole heads, of 4 numbers, but .* leaves 2 of them"):
        checked(CONFIG | {"model_type": model_type} | entries)
    assert checked(CONFIG | {"model_type": model_type, "partial_rotary_factor": 1.0}).rope is not None


def test_biases() -> None:
    qwen2, llama = (
        build_graph(graph_class(CONFIG | {"model_type": name}), CONFIG) for name in ("qwen2", "llama")
    )
    assert {name.split(".")[-2] for name in qwen2.weight_shapes() if name.endswith(".bias")} == {
        "q_proj", "k_proj", "v_proj",
    }  # fmt: skip
    assert not [name for name in llama.weight_shapes() if name.endswith(".bias")]


SLIDING = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}


@pytest.mark.parametrize(
    "entries",
    [
        SLIDING,
        SLIDING | {"max_window_layers": 0},
        SLIDING | {"layer_types": ["full_attention", "sliding_attention"], "max_window_layers": 2},
        SLIDING | {"layer_types": ["sliding_attention", "attention"]},
    ],
    ids=str,
)
def test_a_sliding_window_limits_the_context(entries: dict[str, Any]) -> None:
    graph = checked(CONFIG | entries)
    assert graph.max_positions == 20
    assert len(graph.notes) == 1 and "the context is cut from 64 to 20 tokens" in graph.notes[0]


@pytest.mark.parametrize(
    "entries",
    [
        {"use_sliding_window": False, "sliding_window": 20, "max_window_layers": 0},
        {"sliding_window": 20, "max_window_layers": 0},
        SLIDING | {"max_window_layers": 2},
        # transformers takes 28 layers for those that do not slide.
        {"use_sliding_window": True, "sliding_window": 20},
        SLIDING | {"sliding_window": None},
        SLIDING | {"sliding_window": 64},
        SLIDING | {"layer_types": ["full_attention"] * 2},
        SLIDING | {"use_sliding_window": None},
        # 4096 positions where the size is absent, more than there are.
        {"use_sliding_window": True, "max_window_layers": 0},
    ],
    ids=str,
)
def test_windows_that_limit_nothing(entries: dict[str, Any]) -> None:
    graph = checked(CONFIG | entries)
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


@pytest.mark.parametrize("entries", [{"sliding_window": 20}, {"layer_types": ["sliding_attention"] * 2}], ids=str)
def test_llama_has_no_windows(entries: dict[str, Any]) -> None:
    """As in transformers, which does not even say so."""
    graph = checked(CONFIG | {"model_type": "llama"} | entries)
    assert graph.max_positions == 64
    assert len(graph.notes) == 1 and "every layer sees everything" in graph.notes[0]


@pytest.mark.parametrize("model_type", ["mamba", "__init__", "", None, ["qwen2"]])
def test_unsupported(model_type: Any) -> None:
    with pytest.raises(CheckpointError) as raised:
        graph_class({"model_type": model_type})
    said = str(raised.value)
    assert "supported are llama, qwen2" in said and said.endswith("--custom FILE.")


@pytest.mark.parametrize("value", [0, -2, "2", 2.5, True, [2]])
@pytest.mark.parametrize("name", ["num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size"])
def test_sizes_that_are_none(name: str, value: Any) -> None:
    with pytest.raises(
        CheckpointError, match=rf"config\.json's {name} must be a positive whole number, but it is "
    ):
        graph_class(CONFIG | {name: value})


@pytest.mark.parametrize("model_type", supported_architectures())
@pytest.mark.parametrize(
    "name", ["num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"]
)
def test_missing_entries(model_type: str, name: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != name} | {"model_type": model_type}
    with pytest.raises(GraphError, match=rf'\.py:\d+: config.json has no entry "{name}"'):
        check_graph(build_graph(graph_class(config), config), {})


@pytest.mark.parametrize("model_type", supported_architectures())
def test_other_activations(model_type: str) -> None:
    with pytest.raises(GraphError, match=r"hidden_act is silu, but config\.json has 'gelu'"):
        checked(CONFIG | {"model_type": model_type, "hidden_act": "gelu"})
