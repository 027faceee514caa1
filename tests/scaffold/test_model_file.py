"""The file that init writes computes what the architecture computes that it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb import loading
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.random import RandomCheckpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.graph.build import build_graph
from ftllm_nb.models import graph_class
from ftllm_nb.scaffold.candidates import Candidate, nearest, tried
from ftllm_nb.scaffold.marks import peculiarities
from ftllm_nb.scaffold.model_file import class_name, model_file
from tests.graph.small_graphs import CONFIG
from tests.models.small_configs import DECODERS, MORE
from tests.outline.test_folding import RECURRENT

LAYERS = 4
QUICK = {"gemma2", "gpt_neox", "qwen3_moe", "stablelm"}
TOKENS = np.arange(3, 15, dtype=np.int32)


def checkpoint_of(model_type: str, **entries: Any) -> RandomCheckpoint:
    """Random weights of a small model; its model_type is one that nobody knows."""
    own = RECURRENT.get(model_type, {}) | MORE.get(model_type, {})
    config = CONFIG | {"num_hidden_layers": LAYERS} | own | entries
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"] * 2
    if model_type in ("gemma3n_text", "gemma4_text"):
        config |= {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": config["vocab_size"]}
    config = json.loads(json.dumps(config))
    graph = build_graph(graph_class({"model_type": model_type}), config | {"model_type": model_type})
    return RandomCheckpoint(config | {"model_type": "novel"}, graph.weight_shapes(), "float32")


def logits(checkpoint: Checkpoint, graph: Any) -> NDArray[np.float32]:
    executor = loading.open_executor(loading.describe(checkpoint, graph), checkpoint, engine="reference")
    try:
        return executor.run([SequenceStep(executor.cache.new_sequence(), TOKENS, True)])
    finally:
        executor.close()


ALIKE = ("zamba2",)
"""Of one kind of layers here, so that which kind they are is not asked."""


def written(checkpoint: Checkpoint, *candidates: Candidate) -> str:
    return model_file(checkpoint, list(candidates), "Novel 1B").text


@pytest.mark.parametrize(
    "model_type", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DECODERS]
)
def test_the_file_computes_what_its_architecture_computes(model_type: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(model_type)
    candidate = tried(model_type, checkpoint)
    assert candidate is not None and candidate.fits
    file = tmp_path / "novel.py"
    file.write_text(written(checkpoint, candidate))
    assert "TODO" not in file.read_text() and "class Novel1BModel(ComputeGraph)" in file.read_text()
    notes = loading.describe(checkpoint, file).notes
    assert all("layer_types" in note for note in notes) if model_type in ALIKE else not notes
    known = type(candidate.graph)
    np.testing.assert_array_equal(logits(checkpoint, file), logits(checkpoint, known))


def test_it_is_written_as_a_person_would() -> None:
    checkpoint = checkpoint_of("gemma2", final_logit_softcapping=30.0, tie_word_embeddings=True)
    candidate = tried("gemma2", checkpoint)
    assert candidate is not None
    text = written(checkpoint, candidate)
    for line in (
        "for i in range(config[\"num_hidden_layers\"]):",
        'layer = weight["model.layers."][i]',
        'self.Mul(data["hidden"], config["hidden_size"] ** 0.5, data["hidden"])',
        'config["query_pre_attn_scalar"] ** -0.5',
        'window=config["sliding_window"] if i % 2 == 0 else 0',
        'self.SoftCap(data["logits"], config["final_logit_softcapping"], data["logits"])',
    ):
        assert line in text
    assert "- 4 norms around a layer's branches: input_layernorm, post_attention_layernorm,\n  pre_feed" in text
    assert max(map(len, text.splitlines())) <= 120


def test_layers_of_several_kinds_share_what_they_have_in_common() -> None:
    checkpoint = checkpoint_of("qwen3_moe", mlp_only_layers=[1])
    candidate = tried("qwen3_moe", checkpoint)
    assert candidate is not None
    text = written(checkpoint, candidate)
    assert text.count("self.FusedAttention(") == 1
    assert '[layer[".mlp.experts."][e][".up_proj.weight"] for e in range(experts)]' in text
    assert 'experts = config["num_experts"]\n' in text
    assert 'if i in config["mlp_only_layers"]:\n                self.feed_forward(layer)\n' in text
    assert "            else:\n                self.experts(layer)\n" in text
    assert "# Queries and keys are normalized: model.layers.0.self_attn.q_norm.weight [" in text


def test_each_kind_of_layers_of_a_hybrid_has_a_method_of_its_own() -> None:
    entries = {
        "layer_types": ["linear_attention", "full_attention"], "num_key_value_heads": 2, "head_dim": 8,
        "linear_num_key_heads": 3, "linear_num_value_heads": 6, "linear_key_head_dim": 8, "linear_value_head_dim": 4,
        "rms_norm_eps": 1e-6,
    }  # fmt: skip
    checkpoint = checkpoint_of("qwen3_5_text", **entries)
    candidate = tried("qwen3_5_text", checkpoint)
    assert candidate is not None
    build, linear, full = written(checkpoint, candidate).split("    def ")[1:]
    assert 'if config["layer_types"][i] == "linear_attention":\n' in build
    assert "                self.linear_attention(layer, i)\n" in build
    assert "FusedAttention" in full and "FusedAttention" not in build + linear
    assert "RecurrentGatedDeltaRule" in linear and "Linear(" in build and " if " not in linear + full
    for line in (
        'q_size = config["linear_num_key_heads"] * linear_key_head_dim\n',
        'self.Split(data["mixed"], -1, q_size, 2 * q_size, data["k"])\n',
        '2 * q_size + config["linear_num_value_heads"] * linear_value_head_dim, data["v"])\n',
        'self.ExpandHead(data["k"], linear_key_head_dim)\n',
        'self.L2Norm(data["q"], 1e-06, data["q"])\n',  # it has the size of rms_norm_eps, and does not come from it
    ):
        assert line in linear
    assert 'self.ExpandHead(data["k"], head_dim)\n' in full and 'head_dim = config["head_dim"]\n' in full


def test_the_nearest_is_found_by_its_tensors_and_its_entries() -> None:
    for model_type in ("llama", "olmo2"):
        found = nearest(checkpoint_of(model_type))
        assert found[0].name == model_type and found[0].fits


def test_what_is_not_known_is_a_todo() -> None:
    known = checkpoint_of("qwen3")
    shapes = {name: info.shape for name, info in known.tensors.items()}
    shapes |= {f"model.layers.{number}.self_attn.mystery_norm.weight": (24,) for number in range(LAYERS)}
    shapes["model.extra.weight"] = (7, 24)
    del shapes["model.norm.weight"]
    checkpoint = RandomCheckpoint(known.config | {"logit_softcap": 5.0}, shapes, "float32")
    found = nearest(checkpoint)
    made = model_file(checkpoint, found, "x")
    assert found[0].name == "qwen3" and not found[0].fits
    assert "reads 13 of 15 kinds of tensors and 1 that the checkpoint lacks." in made.why[0]
    todos = " ".join(made.todos)
    assert "model.layers.0.self_attn.mystery_norm.weight [24] and 3 more like it are read by nothing here: a" in todos
    assert "model.extra.weight [7, 24] is read by nothing here: a matrix for Linear, from 24 features to 7." in todos
    assert "the checkpoint has no model.norm.weight; " in todos and "; a norm without a weight takes None." in todos
    assert "config.json has logit_softcap = 5.0, by which numbers are bounded by a softcap" in todos
    assert made.text.count("# TODO: ") == len(made.todos) == 4
    compile(made.text, "x.py", "exec")


def test_a_matrix_that_is_lacking_counts() -> None:
    known = checkpoint_of("llama")
    shapes = {name: info.shape for name, info in known.tensors.items() if ".gate_proj." not in name}
    checkpoint = RandomCheckpoint(known.config, shapes, "float32")
    found = nearest(checkpoint)[0]
    assert list(found.missing) == ["model.layers.0.mlp.gate_proj.weight"] and not found.unread
    (todo,) = model_file(checkpoint, [found], "x").todos
    assert todo.startswith("the checkpoint has no model.layers.0.mlp.gate_proj.weight")
    assert "; a feed-forward without a gate has neither this Linear nor MulTo" in todo


def test_an_activation_that_is_not_known_is_a_todo_and_nothing_more() -> None:
    known = checkpoint_of("qwen3")
    shapes = {name: info.shape for name, info in known.tensors.items()}
    checkpoint = RandomCheckpoint(known.config | {"hidden_act": "xielu"}, shapes, "float32")
    found = nearest(checkpoint)
    assert found[0].name == "qwen3"
    made = model_file(checkpoint, found, "x")
    assert made.todos == [
        "config.json has hidden_act = 'xielu', by which the activation is another one, and nothing here does that."
    ]
    assert 'config["hidden_act"]' not in made.text


def test_a_checkpoint_of_which_nothing_is_known_begins_with_the_plainest() -> None:
    known = checkpoint_of("llama")
    shapes = {f"other.{number}": info.shape for number, info in enumerate(known.tensors.values())}
    found = nearest(RandomCheckpoint(known.config, shapes, "float32"))
    assert found[0].name == "llama"


@pytest.mark.parametrize(
    "name, shape, guess",
    [
        ("model.decoder.embed_tokens.weight", (32, 8), "a table of 32 rows for Embedding"),
        ("h.0.mixer.conv1d.weight", (8, 1, 4), "a convolution of 8 channels and 4 taps, CausalConv1D"),
        ("h.0.mixer.A_log", (8, 4), "MambaScan"),
        ("h.0.moe.input_linear.weight", (8, 6, 4), "a stack of 8 matrices, as those of experts, which MergeMOE takes"),
        ("h.0.act.beta", (), "one number"),
    ],
)
def test_guesses(name: str, shape: tuple[int, ...], guess: str) -> None:
    known = checkpoint_of("llama")
    shapes = {each: info.shape for each, info in known.tensors.items()} | {name: shape}
    checkpoint = RandomCheckpoint(known.config, shapes, "float32")
    (todo,) = model_file(checkpoint, nearest(checkpoint), "x").todos
    assert todo.startswith(name) and guess in todo


def test_tensors_show_what_is_special() -> None:
    lines = "\n".join(peculiarities(checkpoint_of("gpt_oss").tensors, is_tied=True))
    for text in ("tokens are sent to a few of many experts: ", "each head of attention has a sink: ", "biases: "):
        assert text in lines
    assert "the embedding makes the logits, too" in lines
    assert peculiarities(checkpoint_of("llama").tensors, is_tied=False) == []


@pytest.mark.parametrize(
    "name, expected", [("my-model", "MyModelModel"), ("7B", "Model7BModel"), ("…", "MyModel"), ("a b", "ABModel")]
)
def test_class_names(name: str, expected: str) -> None:
    assert class_name(name) == expected
