"""Models with Mamba-2 layers of several forms: what they have beside the recurrence, and configs that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import CheckpointError, FtllmError
from ftllm_nb.graph.ir import CheckedGraph
from tests.engine.test_recurrent_models import COMMON, TOKENS, opened, prefill, weights
from tests.memory_checkpoint import MemoryCheckpoint

FORMS = {
    "mamba_n_heads": 6, "mamba_n_groups": 2, "mamba_d_state": 11, "head_dim": 24,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "bamba": COMMON | FORMS | {"model_type": "bamba", "attn_layer_indices": [1]},
    "falcon_h1": COMMON | FORMS | {
        "model_type": "falcon_h1", "mamba_d_ssm": 78, "ssm_multipliers": [0.7, 1.2, 0.9, 1.1, 0.8],
        "mlp_multipliers": [0.8, 1.3], "mamba_rms_norm": True, "key_multiplier": 0.5, "num_hidden_layers": 2,
    },
    "mamba2": COMMON | {"model_type": "mamba2", "num_heads": 6, "n_groups": 2, "state_size": 11, "head_dim": 20},
    "nemotron_h": {name: value for name, value in COMMON.items() if name != "num_hidden_layers"} | {
        "model_type": "nemotron_h", "mamba_num_heads": 6, "mamba_head_dim": 13, "n_groups": 2, "ssm_state_size": 11,
        "hybrid_override_pattern": "ME*-M", "n_routed_experts": 4, "num_experts_per_tok": 2, "head_dim": 24,
        "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 24, "moe_latent_size": 20,
    },
}  # fmt: skip
MIXERS = {"bamba": "model.layers.0.mamba", "falcon_h1": "model.layers.1.mamba", "mamba2": "backbone.layers.3.mixer",
          "nemotron_h": "backbone.layers.4.mixer"}  # fmt: skip


def described(config: dict[str, Any], without: str = "") -> CheckedGraph:
    arrays = weights(config)
    arrays.pop(without, None)
    return loading.describe(MemoryCheckpoint(dict(config), arrays))


def test_attention_and_a_recurrence_in_one_layer() -> None:
    """Any chunks, beside others, and after a cut."""
    with opened(CONFIGS["falcon_h1"]) as executor:
        cache = executor.cache
        sequence, other, branch = (cache.new_sequence() for _ in range(3))
        expected = prefill(executor, sequence, TOKENS[:150], 150)
        np.testing.assert_array_equal(prefill(executor, other, TOKENS[:150], 41), expected)
        cache.save(branch, 90)
        prefill(executor, branch, TOKENS[:90], 64)
        prefill(executor, branch, TOKENS[:30], 30)
        cache.truncate(branch, 90)
        steps = [SequenceStep(other, TOKENS[:3]), SequenceStep(branch, TOKENS[90:150])]
        np.testing.assert_array_equal(executor.run(steps)[1], expected)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_what_steers_keeps_its_floats(model_type: str) -> None:
    graph = described(CONFIGS[model_type])
    format_of = WeightTypes("int8g32").formats(graph)
    floats = {weight.name for weight in graph.packed if format_of(weight).name in ("float32", "float16")}
    assert floats == {name for name in graph.weights if name.endswith("mixer.gate.weight")}
    small = ("conv1d.weight", "A_log", "dt_bias", ".D", "conv1d.bias")
    assert not any(weight.tensor.endswith(small) for weight in graph.packed)


@pytest.mark.parametrize("name", ["A_log", "dt_bias", "D", "conv1d.weight", "norm.weight", "in_proj.weight"])
@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_tensor_that_is_missing_is_named(model_type: str, name: str) -> None:
    name = f"{MIXERS[model_type]}.{name}"
    with pytest.raises(FtllmError, match=rf'lacks the tensor "{name}"'):
        described(CONFIGS[model_type], without=name)


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("bamba", {"attn_layer_indices": [4]}, r"_indices must be a list of layers, of 0 to 3, but it is \[4"),
        ("bamba", {"attn_layer_indices": [True]}, r"_indices must be a list of layers, of 0 to 3, but it is \[true\]"),
        ("bamba", {"layer_types": ["mamba"] * 4}, "attn_layer_indices contradicts its layer_types"),
        ("bamba", {"mamba_n_groups": 4}, "mamba_n_heads 6 is no multiple of its mamba_n_groups 4"),
        ("falcon_h1", {"mamba_d_ssm": 80}, r"mamba_d_ssm \(or .*\) 80 is no multiple of its mamba_n_heads 6"),
        ("falcon_h1", {"ssm_multipliers": [1, 2]}, "ssm_multipliers must be a list of 5 numbers, but it is"),
        ("falcon_h1", {"mlp_multipliers": [1, "x"]}, "mlp_multipliers must be a positive number, but it is 'x'"),
        ("falcon_h1", {"layer_types": ["mamba"] * 2}, "each has both attention and Mamba-2"),
        ("mamba2", {"head_dim": 10}, "head_dim is 10, but 6 heads of 120 features have 20 each"),
        ("mamba2", {"num_heads": 7}, "hidden_size · expand 120 is no multiple of its num_heads 7"),
        ("mamba2", {"n_groups": 4}, "num_heads 6 is no multiple of its n_groups 4"),
        ("nemotron_h", {"n_groups": 4}, "mamba_num_heads 6 is no multiple of its n_groups 4"),
        ("nemotron_h", {"hybrid_override_pattern": "MX"}, r"must be letters M, \*, - and E, .* but it is 'MX'"),
        ("nemotron_h", {"num_hidden_layers": 4}, "_pattern names the kinds of 5 layers, but .* is 4"),
        ("nemotron_h", {"layers_block_type": ["mlp"] * 5}, "hybrid_override_pattern contradicts its layers_block_type"),
        ("nemotron_h", {"hybrid_override_pattern": None}, "neither layers_block_type nor hybrid_override_pattern"),
        ("nemotron_h", {"mlp_hidden_act": "silu"}, "activation is 'silu', which experts here do not have"),
        ("nemotron_h", {"mamba_hidden_act": "gelu"}, "mamba_hidden_act must be silu, but it is 'gelu'"),
        ("nemotron_h", {"time_step_min": -1}, "time_step_min must be a positive number, but it is -1"),
    ],
)
def test_configs_that_contradict_themselves(model_type: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(FtllmError, match=expected):
        described(CONFIGS[model_type] | changes)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("ME*M-", r"it has this weight in layers? .* only"), ("MEM-M", r"config\.json gives the kinds")],
)
def test_a_pattern_that_contradicts_the_tensors(pattern: str, expected: str) -> None:
    config = CONFIGS["nemotron_h"]
    with pytest.raises(CheckpointError, match=expected):
        loading.describe(MemoryCheckpoint(config | {"hybrid_override_pattern": pattern}, weights(config)))


def test_kinds_and_names_of_other_checkpoints() -> None:
    """layers_block_type in place of a pattern; a head for further tokens; the first Mamba-2's embedding."""
    config = CONFIGS["nemotron_h"]
    kinds = ["mamba", "moe", "attention", "mlp", "mamba"]
    listed = config | {"hybrid_override_pattern": None, "layers_block_type": kinds}
    assert sorted(weights(listed)) == sorted(weights(config))
    arrays = weights(config)
    more = arrays | {"mtp.layers.0.norm.weight": np.ones(60, np.float32)}
    graph = loading.describe(MemoryCheckpoint(dict(config), more))
    assert graph.unread_tensors == []
    config = CONFIGS["mamba2"]
    arrays = weights(config)
    arrays["backbone.embedding.weight"] = arrays.pop("backbone.embeddings.weight")
    assert "backbone.embedding.weight" in loading.describe(MemoryCheckpoint(dict(config), arrays)).weights


def test_a_longest_sequence_that_no_config_of_transformers_names() -> None:
    config = CONFIGS["mamba2"]
    assert described(config).max_positions == config["max_position_embeddings"]
    assert described(config | {"max_position_embeddings": None}).max_positions == 262144
