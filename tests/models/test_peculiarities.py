"""What single architectures call otherwise, take besides, or refuse."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.models import graph_class
from ftllm_nb.ops.gelu import is_tanh_form
from tests.graph.small_graphs import CONFIG, Header
from tests.models.small_configs import DECODERS, MORE, checked


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
        ("gemma4_text", {"per_layer_config": {"2": {"head_dim": 8}}}, "per_layer_config must have an object"),
        ("gemma4_text", {"per_layer_config": {"1": {"num_key_value_heads": 4}}, "head_dim": 8},
         "num_attention_heads 6 is no multiple of its num_key_value_heads 4 in layer 1."),
        ("gemma4_text", {"use_bidirectional_attention": "all"}, "use_bidirectional_attention must be true or false"),
        ("gemma3_text", {"enable_moe_block": True}, "enable_moe_block = true, by which tokens are sent to experts"),
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
