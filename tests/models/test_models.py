"""Architectures are found by file name, build from their config alone, and say what is not supported."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import ftllm_nb.models
from ftllm_nb.blocks import TextPart
from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models import graph_class, supported_architectures
from ftllm_nb.ops.gelu import is_tanh_form
from tests.graph.small_graphs import CONFIG, Header


def checked(config: dict[str, Any]) -> CheckedGraph:
    """The graph on a checkpoint that holds exactly what the architecture declares."""
    graph = build_graph(graph_class(config), config)
    return check_graph(graph, {name: Header(shape) for name, shape in graph.weight_shapes().items()})


def test_supported_architectures_are_the_files() -> None:
    files = {path.stem for path in Path(ftllm_nb.models.__path__[0]).glob("*.py")}
    assert set(supported_architectures()) == files - {"__init__"} >= {"llama", "qwen2"}


CLASSES = {
    name: importlib.import_module(f"{ftllm_nb.models.__name__}.{name}").__model__ for name in supported_architectures()
}
TEXT_PARTS = {name: each for name, each in CLASSES.items() if issubclass(each, TextPart)}
"""Those that compute a part of a folder; test_text_parts.py has their tests."""
DECODERS = [name for name in CLASSES if name not in TEXT_PARTS]
"""The others, whose config.json describes what they compute."""
LLAMAS = ["llama", "qwen2"]
"""The architectures that differ in nothing but biases and windows."""
GEMMA = {"query_pre_attn_scalar": 4, "sliding_window": 20}
LATENT = {"q_lora_rank": 10, "kv_lora_rank": 12, "qk_nope_head_dim": 4, "qk_rope_head_dim": 6, "v_head_dim": 8}
MORE: dict[str, dict[str, Any]] = {
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "exaone4": {"layer_types": ["full_attention"] * 2},
    "cohere2": {"rms_norm_eps": None, "layer_norm_eps": 1e-5},
    "starcoder2": {"rms_norm_eps": None, "norm_epsilon": 1e-5},
    "llama4_text": {"moe_layers": [], "intermediate_size_mlp": 40},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt2": {"rms_norm_eps": None},
    "stablelm": {"rms_norm_eps": None, "head_dim": 8},
    "gpt_neox": {"rms_norm_eps": None, "layer_norm_eps": 1e-5, "head_dim": 8},
    "minicpm3": LATENT,
}
"""What an architecture asks for besides CONFIG."""


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize(
    "entries", [{}, {"tie_word_embeddings": True, "attention_bias": True, "use_bias": True}], ids=str
)
def test_each_architecture_reads_what_it_declares(model_type: str, entries: dict[str, Any]) -> None:
    graph = checked(CONFIG | {"model_type": model_type} | MORE.get(model_type, {}) | entries)
    assert graph.unread_tensors == [] and graph.notes == []
    assert list(graph.caches) == [0, 1]
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
    assert "supported are cohere2, " in said and ", qwen2, " in said and said.endswith("--custom FILE.")


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
    with pytest.raises(CheckpointError, match="not supported; supported are"):
        graph_class(CONFIG | {"model_type": model_type, "architectures": ["BertLMHeadModel"]})


def test_gpt2_with_an_encoder() -> None:
    with pytest.raises(GraphError, match="add_cross_attention is true, but there is no encoder"):
        checked(CONFIG | MORE["gpt2"] | {"model_type": "gpt2", "add_cross_attention": True})


@pytest.mark.parametrize("part", ["n_embd", "n_layer", "n_head"])
def test_entries_that_gpt2_calls_otherwise(part: str) -> None:
    """They go before Llama's names, and a wrong one is said by its own name."""
    config = CONFIG | MORE["gpt2"] | {"model_type": "gpt2", "n_embd": 12, "n_layer": 3, "n_head": 3}
    graph = checked(config | {"n_positions": 30})
    assert (graph.max_positions, len(graph.caches), graph.caches[0].key_dim) == (30, 3, 4)
    with pytest.raises(CheckpointError, match=f"config.json's {part} must be a positive whole number, but it is 0"):
        checked(config | {part: 0})


def test_a_model_that_was_saved_without_its_head() -> None:
    config = CONFIG | MORE["gpt2"] | {"model_type": "gpt2", "tie_word_embeddings": True}
    whole = build_graph(graph_class(config), config).weight_shapes()
    tensors = {name.removeprefix("transformer."): Header(shape) for name, shape in whole.items()}
    graph = check_graph(build_graph(graph_class(config), config, checkpoint_names=tensors), tensors)
    assert graph.unread_tensors == [] and set(graph.weights) >= {"wte.weight", "wpe.weight"}


def test_a_head_under_its_usual_name() -> None:
    config = CONFIG | MORE["gpt_neox"] | {"model_type": "gpt_neox"}
    shapes = build_graph(graph_class(config), config).weight_shapes()
    tensors = {name.replace("embed_out", "lm_head"): Header(shape) for name, shape in shapes.items()}
    graph = check_graph(build_graph(graph_class(config), config, checkpoint_names=tensors), tensors)
    assert graph.unread_tensors == [] and "lm_head.weight" in graph.weights


def test_a_norm_for_each_head() -> None:
    graph = checked(CONFIG | MORE["stablelm"] | {"model_type": "stablelm", "qk_layernorm": True})
    norms = [name for name in graph.weights if ".0.self_attn." in name and "layernorm.norms." in name]
    assert len(norms) == CONFIG["num_attention_heads"] + CONFIG["num_key_value_heads"]


def test_minicpm_of_experts() -> None:
    with pytest.raises(GraphError, match=r"num_experts asks for experts"):
        checked(CONFIG | {"model_type": "minicpm", "num_experts": 8})
    assert "sees everything" in checked(CONFIG | {"model_type": "minicpm", "sparse_config": {}}).notes[0]


@pytest.mark.parametrize("entry", ["embed_layernorm", "apply_residual_connection_post_layernorm"])
def test_telechat_of_other_forms(entry: str) -> None:
    with pytest.raises(GraphError, match=f"{entry} is true"):
        checked(CONFIG | {"model_type": "telechat", entry: True})


def test_telechats_that_name_an_activation_which_they_do_not_have() -> None:
    config = CONFIG | {"model_type": "telechat"}
    with_name, without = (checked(config | named) for named in ({"hidden_act": "fastgelu"}, {}))
    assert [node.operator for node in with_name.nodes] == [node.operator for node in without.nodes]


@pytest.mark.parametrize(
    ("trained", "base", "alpha"), [(4096, None, 1), (8192, None, 3), (16384, None, 7), (8192, 8192, 1), (9000, 8192, 3)]
)
def test_telechats_base_grows_with_the_context(trained: int, base: int | None, alpha: int) -> None:
    config = CONFIG | {"model_type": "telechat", "training_seqlen": trained, "base_seqlen": base}
    graph = checked(config)
    [table] = graph.rope.values()
    assert (graph.max_positions, table.base) == (trained, pytest.approx(1e4 * alpha**2))  # heads of 4: 4 / (4 - 2)


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
HAVE_DEFAULTS = [("gpt2", "intermediate_size")]


@pytest.mark.parametrize(
    ("model_type", "name"), sorted({(each, name) for each in DECODERS for name in SIZES} - {*HAVE_DEFAULTS})
)
def test_missing_entries(model_type: str, name: str) -> None:
    whole = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    own = CLASSES[model_type].entry_names.get(name, name)
    config = {key: value for key, value in whole.items() if key not in (name, own)}
    with pytest.raises(GraphError, match=rf'\.py:\d+: config.json has no entry "{own}"'):
        check_graph(build_graph(graph_class(config), config), {})


@pytest.mark.parametrize("model_type", [name for name in DECODERS if name not in (*LLAMAS, "qwen3")])
def test_activations_that_nobody_knows(model_type: str) -> None:
    config = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    for entry in ("hidden_act", "hidden_activation"):
        with pytest.raises(GraphError, match=r"config\.json's activation is 'swosh'; known are silu, "):
            checked(config | {entry: "swosh"})


@pytest.mark.parametrize("model_type", [*LLAMAS, "qwen3"])
def test_other_activations(model_type: str) -> None:
    with pytest.raises(GraphError, match=r"hidden_act is silu, but config\.json has 'gelu'"):
        checked(CONFIG | {"model_type": model_type, "hidden_act": "gelu"})


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize(
    "name",
    ["rms_norm_eps", "norm_epsilon", "layer_norm_eps", "hidden_act", "partial_rotary_factor", "is_causal",
     "use_bidirectional_attention"],
)  # fmt: skip
def test_null_is_what_absent_is(model_type: str, name: str) -> None:
    config = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    without = {key: value for key, value in config.items() if key != name}
    null, absent = (
        (json.loads(str(graph := build_graph(graph_class(entries), entries)))["graph"], graph.rotations)
        for entries in (without | {name: None}, dict(without))
    )
    assert null == absent


@pytest.mark.parametrize(
    ("model_type", "name", "value"),
    [
        *[(model_type, "is_causal", False) for model_type in DECODERS],
        *[(gemma, "use_bidirectional_attention", True) for gemma in ("gemma", "gemma2", "gemma3_text")],
    ],
)
def test_tokens_that_see_later_ones(model_type: str, name: str, value: bool) -> None:
    config = CONFIG | {"model_type": model_type} | MORE.get(model_type, {})
    with pytest.raises(GraphError, match=f"{name} is .*attention is causal"):
        checked(config | {name: value})
    checked(config | {name: not value})


@pytest.mark.parametrize("entries", [{}, {"hidden_act": None}], ids=str)
def test_starcoder2_takes_the_tanh_form(entries: dict[str, Any]) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "hidden_act"} | {"model_type": "starcoder2"}
    assert is_tanh_form(build_graph(graph_class(config), config | entries).config)


@pytest.mark.parametrize("entries", [{"moe_layers": None}, {"moe_layers": [1]}, {"moe_layers": "x"}], ids=str)
def test_llama4_with_experts(entries: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match=r"experts \(moe_layers\), which are not computed"):
        checked(CONFIG | {"model_type": "llama4_text", "intermediate_size_mlp": 40} | entries)


@pytest.mark.parametrize(
    ("model_type", "entries", "sentence"),
    [
        ("llama4_text", {"no_rope_layers": [1]}, "no_rope_layers must have a number for each of 2 layers"),
        ("llama4_text", {"no_rope_layers": ["a", "b"]}, "no_rope_layers must have a number for each"),
        ("llama4_text", {"attention_chunk_size": 0}, "attention_chunk_size must be a whole number of at least 1"),
        ("llama4_text", {"layer_types": ["sliding_attention"] * 2}, 'has "sliding_attention" layers; this'),
        ("llama4_text", {"layer_types": ["chunked_attention"] * 2, "attention_chunk_size": None}, "of an attention"),
        ("gemma4_text", {"num_kv_shared_layers": 1}, 'leaves no layer of the kind "full_attention" that stores keys'),
        ("gemma4_text", {"num_kv_shared_layers": 2}, "leaves no layer of the kind"),
        ("gemma4_text", {"num_kv_shared_layers": 9}, "leaves no layer of the kind"),
        ("gemma4_text", {"num_kv_shared_layers": -1}, "num_kv_shared_layers must be a whole number of at least 0"),
        ("gemma4_text", {"global_head_dim": 0}, "global_head_dim must be a whole number of at least 1"),
        ("gemma4_text", {"per_layer_config": [1]}, "per_layer_config must have an object for each layer that differs"),
        ("gemma4_text", {"per_layer_config": {"0": 1}}, "per_layer_config must have an object"),
        ("gemma4_text", {"per_layer_config": {"0": {"head_dim": "x"}}}, "head_dim must be a whole number"),
        ("gemma4_text", {"use_bidirectional_attention": "all"}, "use_bidirectional_attention must be true or false"),
        ("gemma4_text", {"enable_moe_block": True}, "enable_moe_block = true, by which tokens are sent to experts"),
        ("gemma4_text", {"rope_parameters": {"full_attention": {}}}, 'none for "sliding_attention" layers'),
        ("gemma3n_text", {"num_kv_shared_layers": None}, "leaves no layer of the kind"),
        ("gemma3n_text", {"intermediate_size": [8]}, "intermediate_size must have a number for each of 2 layers"),
        ("gemma3n_text", {"activation_sparsity_pattern": 0.5}, "must have a number for each of 2 layers"),
        ("gemma3n_text", {"activation_sparsity_pattern": [0.5, 1]}, "must have numbers from 0 to below 1"),
        ("gemma3n_text", {"altup_num_inputs": 1}, "altup_num_inputs must be a whole number of at least 2"),
        ("gemma3n_text", {"altup_active_idx": 4}, "altup_active_idx is 4, but its altup_num_inputs is 4"),
        ("gemma3n_text", {"laurel_rank": 0}, "laurel_rank must be a whole number of at least 1"),
        ("ministral3", {"rope_parameters": "x"}, "rope_parameters must be an object"),
        ("ministral3", {"rope_parameters": {"llama_4_scaling_beta": 1}}, "original_max_position_embeddings must be"),
    ],
)
def test_entries_that_are_wrong(model_type: str, entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GraphError) as raised:
        checked(CONFIG | {"model_type": model_type} | MORE.get(model_type, {}) | entries)
    assert sentence in str(raised.value).replace("'", '"')


@pytest.mark.parametrize("sizes", [[], [40, 0], [40, "a"], [40, None]], ids=str)
def test_lists_of_sizes_that_are_none(sizes: list[Any]) -> None:
    with pytest.raises(CheckpointError, match="intermediate_size must be a positive whole number"):
        graph_class(CONFIG | {"model_type": "gemma3n_text", "intermediate_size": sizes})


def test_a_list_of_sizes_where_there_is_one() -> None:
    with pytest.raises(CheckpointError, match="intermediate_size must be a positive whole number"):
        graph_class(CONFIG | {"model_type": "llama", "intermediate_size": [40, 40]})


@pytest.mark.parametrize("name", ["5", "05", "005"])
def test_gemma4_s_layers_by_numbers_that_transformers_fills_up(name: str) -> None:
    config = CONFIG | MORE.get("gemma4_text", {}) | {"model_type": "gemma4_text", "num_hidden_layers": 6}
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    own = {"layer_types": kinds, "head_dim": 4, "per_layer_config": {name: {"head_dim": 8}}}
    graph = checked(config | {"hidden_size_per_layer_input": 0} | own)
    assert [cache.key_dim for cache in graph.caches.values()] == [4] * 5 + [8]
