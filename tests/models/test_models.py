"""Architectures are found by file name, build from their config alone, and say what is not supported."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

import ftllm_nb.models
from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.models import graph_class, supported_architectures
from tests.graph.small_graphs import CONFIG, Header
from tests.models.small_configs import CLASSES, DECODERS, LLAMAS, MORE, checked


def test_supported_architectures_are_the_files() -> None:
    files = {path.stem: path for path in Path(ftllm_nb.models.__path__[0]).glob("*.py")}
    assert set(supported_architectures()) == set(files) - {"__init__"} >= {"llama", "qwen2"}
    lengths = {name: len(files[name].read_text(encoding="utf-8").splitlines()) for name in supported_architectures()}
    assert {name for name, lines in lengths.items() if lines > 100} == set(), "what is general belongs into blocks/"


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize(
    "entries", [{}, {"tie_word_embeddings": True, "attention_bias": True, "use_bias": True}], ids=str
)
def test_each_architecture_reads_what_it_declares(model_type: str, entries: dict[str, Any]) -> None:
    graph = checked(CONFIG | {"model_type": model_type} | MORE.get(model_type, {}) | entries)
    assert graph.unread_tensors == [] and graph.notes == []
    assert list(graph.caches) == ([] if model_type == "mamba2" else [0, 1])
    head = graph_class({"model_type": model_type}).names.head  # type: ignore[attr-defined]
    assert (f"{head}.weight" in graph.weights) is not entries.get("tie_word_embeddings", False)


@pytest.mark.parametrize("model_type", LLAMAS)
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
    assert graph.rope and all(table.dim == head_dim for table in graph.rope.values())
    assert graph.vocab_size == CONFIG["vocab_size"]


@pytest.mark.parametrize("model_type", LLAMAS)
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
    assert checked(CONFIG | {"model_type": model_type, "partial_rotary_factor": 1.0}).rope


@pytest.mark.parametrize("rotation", [{}, {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}], ids=str)
def test_half_of_a_head_turns_where_the_config_does_not_say(rotation: dict[str, Any]) -> None:
    [table] = checked(CONFIG | {"model_type": "glm4", "head_dim": 8} | rotation).rope.values()
    assert table.dim == 4


def test_a_shorter_context_chooses_longropes_list() -> None:
    """The model's own context is what the scaling is read from, whatever part of it will be used."""
    factors = {"short_factor": [1.0, 1.5], "long_factor": [2.0, 4.0], "original_max_position_embeddings": 32}
    config = CONFIG | {"model_type": "llama", "rope_scaling": {"type": "longrope", **factors}}
    built = build_graph(graph_class(config), config)
    tensors = {name: Header(shape) for name, shape in built.weight_shapes().items()}
    by_context = {limit: check_graph(built, tensors, limit) for limit in (None, 33, 32, 1000)}
    assert [graph.max_positions for graph in by_context.values()] == [64, 33, 32, 64]
    assert [bool(graph.notes) for graph in by_context.values()] == [True, True, False, True]
    scales = {table.type.attention_factor for graph in by_context.values() for table in graph.rope.values()}
    assert len(scales) == 1 and scales.pop() > 1


def test_biases() -> None:
    qwen2, llama = (build_graph(graph_class(CONFIG | {"model_type": name}), CONFIG) for name in ("qwen2", "llama"))
    assert {name.split(".")[-2] for name in qwen2.weight_shapes() if name.endswith(".bias")} == {
        "q_proj", "k_proj", "v_proj",
    }  # fmt: skip
    assert not [name for name in llama.weight_shapes() if name.endswith(".bias")]


@pytest.mark.parametrize("model_type", [name for name in DECODERS if CLASSES[name].groups_heads])
def test_heads_that_do_not_divide(model_type: str) -> None:
    config = CONFIG | {"model_type": model_type} | MORE.get(model_type, {}) | {"num_key_value_heads": 4}
    with pytest.raises(GraphError, match="num_attention_heads 6 is no multiple of its num_key_value_heads 4"):
        checked(config)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("model.layers.1.self_attn.q_norm.weight", "norm"),
        ("model.layers.0.post_feedforward_layernorm.weight", "norm"),
        ("model.layers.0.input_layernorm.bias", "bias"),
        ("model.norm.bias", "bias"),
    ],
)
def test_biases_and_norms_that_nobody_reads(name: str, what: str) -> None:
    config = CONFIG | {"model_type": "seed_oss"}
    graph = build_graph(graph_class(config), config)
    tensors = {each: Header(shape) for each, shape in graph.weight_shapes().items()}
    said = rf'^the checkpoint holds "{name}", a {what} that the architecture \'seed_oss\' does not have'
    with pytest.raises(CheckpointError, match=said):
        check_graph(graph, tensors | {name: Header((24,))})


@pytest.mark.parametrize(
    "name",
    ["model.layers.2.input_layernorm.weight", "model.layers.0.attn.bias", "model.layers.1.mlp.k_scale", "mtp.norm"],
)
def test_other_tensors_that_nobody_reads_are_named(name: str) -> None:
    """A layer beyond the last predicts further tokens; a mask is computed anew."""
    config = CONFIG | {"model_type": "seed_oss"}
    graph = build_graph(graph_class(config), config)
    tensors = {each: Header(shape) for each, shape in graph.weight_shapes().items()}
    assert check_graph(graph, tensors | {name: Header((24,))}).unread_tensors == [name]


@pytest.mark.parametrize("model_type", ["mamba", "__init__", "", None, ["qwen2"]])
def test_unsupported(model_type: Any) -> None:
    with pytest.raises(CheckpointError) as raised:
        graph_class({"model_type": model_type})
    said = str(raised.value)
    assert len(said) < 400 and f"the {len(supported_architectures())} that are supported" in said
    assert "docs/models.md lists" in said and "docs/custom_model.md#from-a-checkpoint-to-a-server" in said
    assert ": describe the model in a Python file, which ftllm-nb init begins, and give it with --custom FILE" in said


@pytest.mark.parametrize(
    ("model_type", "nearest"),
    [
        ("mamba", "nearest are mamba2, bamba and zamba2."),
        ("qwen4", "nearest are qwen3, qwen2, qwen2_moe and qwen3_5."),
        ("Gemma5_text", "nearest are gemma4_text, gemma3_text"),
    ],
)
def test_the_nearest_of_those_that_are_supported_are_named(model_type: str, nearest: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        graph_class({"model_type": model_type})
    assert nearest in str(raised.value)


def test_the_page_of_models_lists_all_architectures() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert [name for name in DECODERS if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("LlamaForSequenceClassification", "a classifier"),
        ("Qwen2ForTokenClassification", "a classifier"),
        ("Qwen2ForRewardModel", "a reward model"),
        ("LlamaForRewardModelWithGating", "a reward model"),
        ("LlamaForQuestionAnswering", "chooses"),
        ("BertForMaskedLM", "fills gaps"),
    ],
)
def test_heads_that_write_no_text(name: str, what: str) -> None:
    with pytest.raises(CheckpointError, match=f"architectures name '{name}': this is .*{what}"):
        graph_class(CONFIG | {"architectures": [name]})


@pytest.mark.parametrize(
    ("model_type", "what"),
    [("bert", "an encoder,"), ("xlm-roberta", "an encoder,"), ("t5", "with a decoder"), ("clip", "pictures")],
)
def test_kinds_of_models_that_write_no_text(model_type: str, what: str) -> None:
    for names in ({}, {"architectures": ["BertModel"]}, {"architectures": "T5ForConditionalGeneration"}):
        with pytest.raises(CheckpointError, match=f"model_type is '{model_type}': this is .*{what}.* was expected"):
            graph_class(CONFIG | {"model_type": model_type} | names)
    with pytest.raises(CheckpointError, match="not supported: describe the model in a Python file"):
        graph_class(CONFIG | {"model_type": model_type, "architectures": ["BertLMHeadModel"]})


@pytest.mark.parametrize(
    "names", [None, [], ["Qwen2ForCausalLM"], ["Qwen2Model"], ["GPT2LMHeadModel"], ["Of my own"], "x", [1], 2, [None]]
)
def test_other_names_of_architectures_pass(names: Any) -> None:
    graph_class(CONFIG | {"architectures": names})


@pytest.mark.parametrize(("value", "written"), [(True, "true"), (None, "null"), ([2, None, False], "[2, null, false]")])
def test_values_are_written_as_in_json(value: Any, written: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        graph_class(CONFIG | {"vocab_size": value})
    assert str(raised.value).endswith(f"but it is {written}.")


@pytest.mark.parametrize("value", [0, -2, "2", 2.5, True, [2]])
@pytest.mark.parametrize("name", ["num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size"])
def test_sizes_that_are_none(name: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json's {name} must be a positive whole number, but it is "):
        graph_class(CONFIG | {name: value})


SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
_ROUTED_ALONE = (
    "gpt2", "qwen3_moe", "qwen2_moe", "llama4_text", "qwen3_next", "qwen3_5_moe_text", "mamba2", "nemotron_h", "zamba2",
)  # fmt: skip
CAN_LACK = [*((each, "intermediate_size") for each in _ROUTED_ALONE), ("nemotron_h", "num_hidden_layers")]
"""What has a default, or is the size of feed-forwards that no layer of theirs has."""


@pytest.mark.parametrize(
    ("model_type", "name"), sorted({(each, name) for each in DECODERS for name in SIZES} - {*CAN_LACK})
)
def test_missing_entries(model_type: str, name: str) -> None:
    whole = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    own = CLASSES[model_type].entry_names.get(name, name)
    config = {key: value for key, value in whole.items() if key not in (name, own)}
    with pytest.raises(GraphError, match=rf'\.py:\d+: config.json has no entry "{own}"'):
        check_graph(build_graph(graph_class(config), config), {})


SILU_ALONE = [*LLAMAS, "qwen3", "qwen3_moe", "qwen2_moe"]


@pytest.mark.parametrize("model_type", [name for name in DECODERS if name not in SILU_ALONE])
def test_activations_that_nobody_knows(model_type: str) -> None:
    config = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    for entry in ("hidden_act", "hidden_activation"):
        with pytest.raises(GraphError, match=r"config\.json's activation is 'swosh'; known are silu, "):
            checked(config | {entry: "swosh"})


@pytest.mark.parametrize("model_type", [*SILU_ALONE, "olmo_hybrid", "kimi_linear"])
def test_other_activations(model_type: str) -> None:
    with pytest.raises(GraphError, match=r"hidden_act is silu, but config\.json has 'gelu'"):
        checked(CONFIG | {"model_type": model_type, "hidden_act": "gelu"} | MORE.get(model_type, {}))


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize(
    "name",
    ["rms_norm_eps", "norm_epsilon", "layer_norm_eps", "hidden_act", "partial_rotary_factor", "is_causal",
     "use_bidirectional_attention"],
)  # fmt: skip
def test_null_is_what_absent_is(model_type: str, name: str) -> None:
    config = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    without = {key: value for key, value in config.items() if key != name}
    assert recorded(json.dumps(without | {name: None})) == recorded(json.dumps(without))


@functools.cache
def recorded(config: str) -> tuple[Any, ...]:
    """The calls that a config makes, and its rotations. Most of those above are the same without an entry."""
    entries = json.loads(config)
    graph = build_graph(graph_class(entries), entries)
    return json.loads(str(graph))["graph"], graph.rotations
