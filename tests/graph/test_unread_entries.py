"""Entries of config.json that matter and that nobody read: refused in architectures of ours, noted for users' files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.unread_entries import EFFECTS
from ftllm_nb.models import graph_class
from tests.graph.small_graphs import CONFIG, Header
from tests.models.small_configs import DECODERS, MORE, TEXT_PARTS

ROOT = Path(__file__).parents[2]

SPECIAL: dict[str, Any] = {
    "use_logn_attn": True,
    "attention_sink_size": 4,
    "num_kv_shared_layers": 1,
    "hidden_size_per_layer_input": 8,
    "swiglu_limit": 7.0,
    "router_logit_softcapping": 30.0,
    "key_multiplier": 0.5,
    "mlp_multipliers": [1.0, 0.5],
    "scale_emb": 12,
    "dim_model_base": 8,
    "n_routed_experts": 8,
    "rope_interleaved": True,
    "rotary_dim": 2,
    "alibi": True,
    "position_embedding_type": "nope",
    "clip_qkv": 8.0,
    "use_parallel_residual": True,
    "hybrid_override_pattern": "M*",
    "scale_attn_weights": False,
    "activation_sparsity_pattern": [0.95, 0.0],
    "global_head_dim": 12,
    "apply_residual_connection_post_layernorm": True,
}
"""Entries that few architectures do, and values with which they matter."""

ORDINARY: dict[str, list[Any]] = {
    "sliding_window": [None, False, 64, 4096],
    "sliding_window_pattern": [None, 4],
    "attention_chunk_size": [None, 0, 8192],
    "layer_types": [None, ["full_attention"] * 2, ["attention"] * 2],
    "final_logit_softcapping": [None, 0, 0.0, False],
    "attention_multiplier": [None, 0.5],
    "query_pre_attn_scalar": [None, 4, 4.0],
    "embedding_multiplier": [None, 1, 1.0],
    "ssm_multipliers": [None, [], [1.0, 1]],
    "ffn_dim_multiplier": [1.3],
    "logits_scaling": [None, 1.0],
    "dim_model_base": [None, 24],
    "hidden_act": [None, "silu"],
    "rope_scaling": [None, {}, {"type": "default"}],
    "rope_theta": [None, 10000, 1e4],
    "partial_rotary_factor": [None, 1, 1.0],
    "rotary_dim": [None, 4],
    "no_rope_layers": [None, [], [1, 1]],
    "scale_attn_weights": [None, True],
    "num_experts": [None, 0, 1],
    "attention_dropout": [0.1],
    "initializer_range": [0.02],
    "use_cache": [False],
    "router_aux_loss_coef": [0.1],
    "a_name_that_nobody_knows": [3],
}
"""Entries with which Seed-OSS, which has nothing special, is what it is without."""


ROTATING = {"position_embedding_type": "rope"}
"""With which Granite's hybrids rotate, so that entries about that matter."""


def plain(**entries: Any) -> dict[str, Any]:
    return CONFIG | {"model_type": "seed_oss"} | entries


def checked(of: type[ComputeGraph], config: dict[str, Any]) -> CheckedGraph:
    """The graph of a config, on the checkpoint of the architecture that the config names."""
    without = {name: config[name] for name in config.keys() & CONFIG.keys()}
    shapes = build_graph(graph_class(without), without).weight_shapes()
    return check_graph(build_graph(of, config), {name: Header(shape) for name, shape in shapes.items()})


def notes(file: Path, body: str, config: dict[str, Any]) -> list[str]:
    """What is noted of the example's model with `body` at the beginning of its build()."""
    model = (ROOT / "examples" / "qwen2.py").read_text().replace(
        "        weight, data, config =", f"        {body}\n        weight, data, config ="
    )  # fmt: skip
    file.write_text(model)
    return checked(load_graph_class(file), config).notes


STILL = ("kimi_linear", "mamba2", "nemotron_h", "zamba2")
"""In which nothing turns, or not unless the config asks for it."""


@pytest.mark.parametrize(("name", "value"), SPECIAL.items())
def test_an_architecture_refuses_what_it_does_not_do(name: str, value: Any) -> None:
    said = f"config.json has {name} = {shown(value)}, by which "
    refused = 0
    for model_type in DECODERS:
        config = CONFIG | ROTATING | {"model_type": model_type} | MORE.get(model_type, {}) | {name: value}
        try:
            graph = build_graph(graph_class(config), config)
        except GraphError as error:
            assert name in str(error), model_type  # one that knows the entry, and not this value
            continue
        assert isinstance(graph.config, ReadConfig)
        if name not in graph.config.unread or (model_type in STILL and name.startswith(("rope", "rotary"))):
            continue
        with pytest.raises(GraphError) as raised:
            check_graph(graph, {})
        assert str(raised.value).startswith(said), model_type
        assert f"which the architecture '{model_type}' does not do" in str(raised.value)
        assert str(raised.value).endswith(f"or set {name} to null if this model is without it.")
        refused += 1
    assert refused > len(DECODERS) / 2


@pytest.mark.parametrize("model_type", TEXT_PARTS)
def test_an_entry_of_a_text_part(model_type: str) -> None:
    text_type = next(iter(TEXT_PARTS[model_type].text_models))
    more = {"scale_emb": 12, "intermediate_size_mlp": 40, "moe_layers": [], "num_kv_shared_layers": 0}
    text = CONFIG | more | MORE.get(text_type, {}) | {"model_type": text_type}
    config = {"model_type": model_type, "text_config": text}
    with pytest.raises(GraphError, match=r"^config\.json has scale_emb = 12, by which .* architecture '"):
        check_graph(build_graph(graph_class(config), config), {})


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"logits_scaling": 8.0}, "logits_scaling"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ({"rms_norm_eps": None, "norm_eps": 1e-5}, "norm_eps"),
        ({"hidden_act": None, "activation_function": "gelu_new"}, "activation_function"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0},
          "rope_parameters": {"rope_type": "linear", "factor": 4.0}}, "rope_parameters"),
        ({"attention_chunk_size": 16}, "attention_chunk_size"),
        ({"sliding_window": 16}, "sliding_window"),
        ({"sliding_window": 16, "use_sliding_window": True}, "sliding_window"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
        ({"rotary_pct": 0.25}, "rotary_pct"),
        ({"use_qk_norm": True}, "use_qk_norm"),
    ],
)  # fmt: skip
def test_what_others_do_and_this_one_does_not(entries: dict[str, Any], name: str) -> None:
    config = plain(**entries)
    said = rf"^config\.json has {name} = .*, by which .*, which the architecture 'seed_oss' does not do"
    with pytest.raises(GraphError, match=said):
        checked(graph_class(config), config)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in ORDINARY for value in ORDINARY[name]])
def test_values_that_change_nothing(name: str, value: Any, tmp_path: Path) -> None:
    config = plain(**{name: value})
    assert checked(graph_class(config), config).notes == []
    assert notes(tmp_path / "model.py", "pass", config) == []


@pytest.mark.parametrize(
    "entries",
    [
        # Two names of one thing, of which one is read.
        {"rms_norm_eps": 1e-6, "layer_norm_epsilon": 1e-5},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"type": "linear", "factor": 2.0}},
        # Of an old and a new form, the new one is what counts.
        {"rope_theta": 5e5, "partial_rotary_factor": 0.5,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}},
        # A window that no layer has.
        {"attention_chunk_size": 16, "layer_types": ["full_attention"] * 2},
        {"no_rope_layers": [1, 1], "no_rope_layer_interval": 4},
    ],
    ids=str,
)  # fmt: skip
def test_entries_seen_beside_others(entries: dict[str, Any]) -> None:
    config = plain(**entries)
    assert checked(graph_class(config), config).notes == []


def test_where_nothing_turns_the_base_of_rotations_is_nothing() -> None:
    config = CONFIG | MORE["cohere2"] | {"model_type": "cohere2", "rope_theta": 5e4}
    config |= {"layer_types": ["full_attention"] * 2}
    assert checked(graph_class(config), config).notes == []


def test_a_users_file_is_warned(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    config = plain(final_logit_softcapping=30.0, hidden_act="gelu", sliding_window=16, attention_bias=True)
    assert notes(file, "pass", config) == [
        f"{file}:7: build() does not read config.json's {entry}; read it, or assign None to it if the model is without "
        "it."
        for entry in (
            "final_logit_softcapping = 30.0, by which numbers are bounded by a softcap",
            "hidden_act = 'gelu', by which the activation is another one",
            "sliding_window = 16, by which layers see a window of positions only",
        )
    ]


@pytest.mark.parametrize(
    "body",
    [
        'self.config["final_logit_softcapping"] = None',
        'self.config.get("final_logit_softcapping")',
        'del self.config["final_logit_softcapping"]',
        "self.config = dict(self.config)",
    ],
)
def test_ways_out(tmp_path: Path, body: str) -> None:
    assert notes(tmp_path / "model.py", body, plain(final_logit_softcapping=30.0)) == []


def test_numbers_that_the_file_holds(tmp_path: Path) -> None:
    """A file for one model need not look up what it knows; Gelu looks the activation up by itself."""
    file = tmp_path / "model.py"
    model = (ROOT / "examples" / "qwen2.py").read_text()
    model = model.replace("self.Silu(", "self.Gelu(").replace("scale=head_dim ** -0.5", "head_dim ** -0.5, window=16")
    file.write_text(model)
    config = plain(hidden_act="gelu_new", sliding_window=16)
    assert checked(load_graph_class(file), config).notes == []


@pytest.mark.parametrize(("operator", "said"), [("GeluNew", False), ("Silu", True)])
def test_an_activation_that_an_operator_is(tmp_path: Path, operator: str, said: bool) -> None:
    """GeluNew is what transformers calls gelu_pytorch_tanh, whatever the file reads of it."""
    file = tmp_path / "model.py"
    file.write_text((ROOT / "examples" / "qwen2.py").read_text().replace("self.Silu(", f"self.{operator}("))
    noted = checked(load_graph_class(file), plain(hidden_activation="gelu_pytorch_tanh")).notes
    assert [bool(noted), all("hidden_activation" in note for note in noted)] == [said, True]


def test_a_graph_in_json_has_its_numbers(tmp_path: Path) -> None:
    config = plain(final_logit_softcapping=30.0)
    file = tmp_path / "model.json"
    file.write_text(str(build_graph(load_graph_class(ROOT / "examples" / "qwen2.py"), config)))
    assert checked(load_graph_class(file), config).notes == []


def test_each_name_is_in_the_table_once() -> None:
    names = [*SPECIAL, *ORDINARY, "rms_norm_eps", "layer_norm_epsilon", "attention_multiplier", "scale_depth"]
    for name in names:
        assert sum(re.fullmatch(effect.names, name) is not None for effect in EFFECTS) <= 1, name
