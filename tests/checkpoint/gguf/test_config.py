"""What a file's metadata makes of the config; tests/oracle compares each architecture's logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint.gguf.architecture import part_of
from ftllm_nb.checkpoint.gguf.metadata import Metadata, shortest
from ftllm_nb.errors import CheckpointError
from tests.checkpoint.gguf.tiny_models import HIDDEN, VOCABULARY, as_tensors, matrices, metadata, opened
from tests.gguf_files import Typed, floats

FULL, SLIDING = "full_attention", "sliding_attention"
LAYER_NORM: dict[str, Any] = {
    "attention__layer_norm_rms_epsilon": None, "attention__layer_norm_epsilon": 1e-5,
}  # fmt: skip


def config(folder: Path, architecture: str, more: dict[str, Any] | None = None, **entries: Any) -> dict[str, Any]:
    """The config of a model with these entries and, beside Llama's, these tensors."""
    with opened(folder, metadata(architecture, **entries), as_tensors(matrices() | (more or {}))) as checkpoint:
        return checkpoint.config


def test_llama(tmp_path: Path) -> None:
    assert config(tmp_path, "llama") == {
        "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 64,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "rope_theta": 500.0,
    }  # fmt: skip


def test_sizes_and_rotations_that_are_told(tmp_path: Path) -> None:
    head = {"output.weight": np.ones((VOCABULARY, HIDDEN), np.float32)}
    found = config(
        tmp_path, "llama", head, attention__key_length=16, attention__value_length=16, attention__head_count_kv=None,
        feed_forward_length=Typed("i32[]", [96, 96]), rope__freq_base=None, rope__dimension_count=12,
        rope__scaling__type="linear", rope__scaling__factor=4.0,
    )  # fmt: skip
    assert found["head_dim"] == 16 and found["num_key_value_heads"] == 4 and found["intermediate_size"] == 96
    assert found["rope_theta"] == 10000.0 and found["partial_rotary_factor"] == 0.75
    assert found["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    assert found["tie_word_embeddings"] is False


def test_yarn(tmp_path: Path) -> None:
    found = config(
        tmp_path, "qwen2", rope__scaling__type="yarn", rope__scaling__factor=4.0,
        rope__scaling__original_context_length=32, rope__scaling__yarn_beta_fast=16.0,
    )  # fmt: skip
    assert found["rope_scaling"] == {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 16.0
    }  # fmt: skip


def test_divisors_of_angles(tmp_path: Path) -> None:
    divisors = {"rope_freqs.weight": np.array([1, 1, 2.5, 8])}
    found = config(tmp_path, "llama", divisors)
    assert found["rope_scaling"] == {"rope_type": "divided", "divisors": [1, 1, 2.5, 8]}
    long = {"rope_factors_long.weight": np.array([4, 4, 4, 4]), "rope_factors_short.weight": np.ones(4)}
    found = config(tmp_path, "phi3", long, rope__scaling__attn_factor=1.2, rope__scaling__original_context_length=64)
    assert found["rope_scaling"] == {
        "rope_type": "longrope", "short_factor": [1] * 4, "long_factor": [4] * 4, "attention_factor": 1.2,
        "original_max_position_embeddings": 64,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "entries", "expected"),
    [
        ("granite", {"logit_scale": 8.0, "residual_scale": 0.22, "attention__scale": 0.0078125},
         {"logits_scaling": 8.0, "residual_multiplier": 0.22, "embedding_multiplier": 1.0,
          "attention_multiplier": 0.0078125}),
        ("granite", {}, {"attention_multiplier": 8**-0.5, "logits_scaling": 1.0}),
        ("gemma2", {}, {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096,
                        "layer_types": [SLIDING, FULL], "query_pre_attn_scalar": 8}),
        ("gemma3", {"attention__sliding_window": 16, "rope__scaling__type": "linear", "rope__scaling__factor": 8.0},
         {"model_type": "gemma3_text", "sliding_window": 16, "layer_types": [SLIDING, SLIDING],
          "rope_parameters": {FULL: {"rope_theta": 500.0, "rope_type": "linear", "factor": 8.0},
                              SLIDING: {"rope_theta": 10000.0}}}),
        ("gemma3", {"attention__sliding_window": 16, "attention__sliding_window_pattern": Typed("bool[]", [0, 1])},
         {"layer_types": [FULL, SLIDING]}),
        ("gemma3", {"rope__freq_base": None, "rope__global__freq_base": 1e6, "rope__local__freq_base": 2e4,
                    "vision__block_count": 27, "mm__tokens_per_image": 256},
         {"rope_parameters": {FULL: {"rope_theta": 1e6}, SLIDING: {"rope_theta": 2e4}}}),
        ("olmo2", {}, {"model_type": "olmo2"}),
        ("olmo2", {"attention__sliding_window": 8, "attention__sliding_window_pattern": 2},
         {"model_type": "olmo3", "sliding_window": 8, "layer_types": [SLIDING, FULL]}),
        ("exaone4", {}, {"sliding_window": None, "layer_types": [FULL, FULL]}),
        ("phi3", {"attention__sliding_window": 0}, {"sliding_window": None}),
        ("phi3", {"attention__sliding_window": 64}, {"sliding_window": 64}),
        ("smollm3", {}, {"no_rope_layer_interval": 4}),
        ("cohere2", {**LAYER_NORM, "logit_scale": 0.25, "attention__sliding_window": 64},
         {"layer_norm_eps": 1e-5, "logit_scale": 0.25, "layer_types": [SLIDING, SLIDING]}),
        ("mistral3", {}, {"model_type": "mistral"}),
        ("mistral3", {"attention__temperature_scale": 0.1, "rope__scaling__type": "yarn", "rope__scaling__factor": 16.0,
                      "rope__scaling__original_context_length": 32, "rope__scaling__yarn_log_multiplier": 1.0},
         {"model_type": "ministral3",
          "rope_parameters": {"rope_theta": 500.0, "rope_type": "yarn", "factor": 16.0, "mscale": 1.0,
                              "mscale_all_dim": 1.0, "original_max_position_embeddings": 32,
                              "llama_4_scaling_beta": 0.1}}),
        ("minicpm", {"embedding_scale": 12.0, "residual_scale": 1.4 / 2**0.5, "logit_scale": 32 / 256},
         {"scale_emb": 12.0, "scale_depth": 1.4, "dim_model_base": 256.0}),
        ("minicpm", {}, {"scale_emb": 12.0, "scale_depth": 1.4, "dim_model_base": 256.0}),
        ("hunyuan-dense", {}, {"model_type": "hunyuan_v1_dense", "use_qk_norm": False}),
        ("stablelm", LAYER_NORM, {"use_parallel_residual": False, "partial_rotary_factor": 1.0}),
        ("gpt2", {**LAYER_NORM, "rope__freq_base": None}, {"n_embd": 32, "n_inner": 64, "stores_transposed": False}),
    ],
)  # fmt: skip
def test_what_others_have_besides(
    architecture: str, entries: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    found = config(tmp_path, architecture, **entries)
    assert {name: found[name] for name in expected} == expected
    assert not any("." in name for name in found)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"block_count": None}, "has no llama.block_count in its metadata, which this architecture needs"),
        ({"block_count": 0}, "llama.block_count is 0, where there should be a whole number from 1 to 2147483647"),
        ({"block_count": 2.0}, "llama.block_count is 2.0, where there should be a whole number"),
        ({"block_count": 2**31 - 1}, "claims 2,147,483,647 layers (block_count) and holds 20 tensors"),
        ({"context_length": Typed("u64", 2**63)}, "llama.context_length is 9223372036854775808, where"),
        ({"block_count": True}, "llama.block_count is true, where"),
        ({"attention__head_count": "4"}, "llama.attention.head_count is '4', where"),
        ({"attention__head_count": Typed("i32[]", [4, 4, 4])}, "is [4, 4, 4], where there should be 2 whole numbers"),
        ({"feed_forward_length": Typed("i32[]", [64, 32])}, "has layers whose feed_forward_length differ (32, 64)"),
        ({"rope__freq_base": float("nan")}, "llama.rope.freq_base is NaN, where there should be a finite number"),
        ({"rope__scaling__type": "spiral"}, "in a way that is not known, 'spiral'; known are none, linear, yarn and"),
        ({"rope__scaling__type": "longrope"}, "by longrope, but holds no tensors rope_factors_long.weight"),
        ({"attention__value_length": 4}, "has values of 4 numbers a head and keys of 8"),
    ],
)
def test_metadata_that_is_wrong(entries: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        config(tmp_path, "llama", **entries)
    assert says in str(caught.value)


def test_a_vocabulary_of_another_model(tmp_path: Path) -> None:
    entries = metadata("llama") | {"tokenizer.ggml.tokens": ["a", "b"]}
    with pytest.raises(CheckpointError, match="a vocabulary of 2 tokens and an embedding of 64"):
        opened(tmp_path, entries, as_tensors(matrices()))


def test_a_model_without_an_embedding(tmp_path: Path) -> None:
    tensors = as_tensors(matrices())
    del tensors["token_embd.weight"]
    with pytest.raises(CheckpointError, match=r"must hold a matrix 'token_embd\.weight', but it lacks it"):
        opened(tmp_path, metadata("llama"), tensors)


def test_divisors_that_are_none(tmp_path: Path) -> None:
    tensors = as_tensors(matrices()) | {"rope_freqs.weight": floats([1, 1, np.inf, 1])}
    with pytest.raises(CheckpointError, match=r"'rope_freqs\.weight' holds numbers that are not finite"):
        opened(tmp_path, metadata("llama"), tensors)


def test_where_answers_end_and_how_tokens_are_chosen(tmp_path: Path) -> None:
    told = {
        "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.eot_token_id": 5, "tokenizer.ggml.bos_token_id": 1,
        "general.sampling.temp": 0.6, "general.sampling.top_k": 20,
    }  # fmt: skip
    with opened(tmp_path, metadata("llama") | told, as_tensors(matrices())) as checkpoint:
        assert checkpoint.generation_config == {
            "eos_token_id": [2, 5], "bos_token_id": 1, "temperature": 0.6, "top_k": 20,
            "do_sample": True,
        }  # fmt: skip


def test_numbers_are_those_that_were_meant() -> None:
    assert shortest(float(np.float32(1e-6))) == 1e-6
    assert shortest(0.1 + 0.2) == 0.1 + 0.2
    for size in range(2, 200, 2):
        for turning in range(2, size + 1, 2):
            assert int(size * part_of(turning, size)) == turning


def test_what_was_not_read_is_told(tmp_path: Path) -> None:
    entries = {"x.a": 3, "x.b": 0, "x.c": np.array([0.0, 1.0]), "x.d": "", "x.rope.scaling.factor": 1.0, "y.a": 3}
    found = Metadata(tmp_path, entries, "x")
    assert found.unread() == {"x.a": 3, "x.c": [0.0, 1.0]}
    found.whole("a")
    assert found.unread() == {"x.c": [0.0, 1.0]}
