"""Models with recurrent layers whose config or tensors are wrong: one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.errors import CheckpointError, FtllmError
from tests.engine.test_recurrent_models import CONFIGS, weights
from tests.memory_checkpoint import MemoryCheckpoint


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_refused(number: float) -> None:
    config = CONFIGS["qwen3_5_text"]
    arrays = weights(config)
    name = "model.layers.0.linear_attn.A_log"
    arrays[name][2] = number
    checkpoint = MemoryCheckpoint(dict(config), arrays)
    with pytest.raises(CheckpointError, match=f'"{name}" holds numbers that are not finite: its file is damaged'):
        CompiledExecutor(loading.describe(checkpoint), checkpoint)


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("qwen3_5_text", {"linear_num_value_heads": 5}, "linear_num_value_heads 5 is no multiple of"),
        ("qwen3_5_text", {"layer_types": ["conv"] * 4}, "has 'conv' layers; this architecture has"),
        ("qwen3_5_text", {"linear_conv_kernel_dim": 1}, "weight must have at least 2 taps"),
        ("lfm2", {"conv_L_cache": 0}, "conv_L_cache must be a whole number of at least 2, but it is 0"),
        ("lfm2", {"layer_types": None, "full_attn_idxs": "all"}, "full_attn_idxs must be a list of layers"),
        ("lfm2", {"layer_types": None, "full_attn_idxs": [2, 4]}, "full_attn_idxs must be a list of layers, of 0 to 3"),
        ("granitemoehybrid", {"position_embedding_type": "alibi"}, 'must be "rope", "nope" or null, but it is'),
        ("granitemoehybrid", {"mamba_n_heads": 7}, "mamba_expand 120 is no multiple of its mamba_n_heads 7"),
        ("granitemoehybrid", {"mamba_n_heads": 6, "mamba_d_head": 8}, "mamba_d_head is 8, but 6 heads of 120"),
        ("granitemoehybrid", {"mamba_n_heads": 6, "time_step_limit": [0]}, r"time_step_limit must be two numbers"),
        ("granitemoehybrid", {"time_step_limit": [2, 1]}, r"two numbers, from 0 on and in order, but it is \[2, 1"),
        ("granitemoehybrid", {"time_step_limit": [True, 1]}, r"must be two numbers, from 0 on and in order"),
        ("granitemoehybrid", {"layers_block_type": ["attention"] * 4}, "layers_block_type contradicts its layer_types"),
    ],
)  # fmt: skip
def test_configs_that_contradict_themselves(model_type: str, changes: dict[str, Any], expected: str) -> None:
    config = CONFIGS[model_type] | changes
    with pytest.raises(FtllmError, match=expected):
        loading.describe(MemoryCheckpoint(dict(config), weights(config)))


def test_layers_may_be_named_as_before() -> None:
    config = CONFIGS["granitemoehybrid"]
    kinds = config["layer_types"]
    for names in ({"layers_block_type": kinds, "layer_types": None}, {"layers_block_type": kinds}):
        named = config | names
        assert sorted(weights(named)) == sorted(weights(config))


@pytest.mark.parametrize(("kinds", "expected"), [
    ([0, 3], r"it has this weight in layer 2 only; a file of the model may be missing, or config\.json gives the"),
    ([0, 1, 2, 3], r"it has this weight in layers 0 to 1, 3 only; a file of the model"),
])  # fmt: skip
def test_kinds_of_layers_that_contradict_the_tensors(kinds: list[int], expected: str) -> None:
    """`kinds`: the layers that are recurrent, where the checkpoint has 0, 1 and 3."""
    config, arrays = CONFIGS["qwen3_5_text"], weights(CONFIGS["qwen3_5_text"])
    types = ["linear_attention" if layer in kinds else "full_attention" for layer in range(4)]
    with pytest.raises(CheckpointError, match=expected):
        loading.describe(MemoryCheckpoint(config | {"layer_types": types}, arrays))


@pytest.mark.parametrize("name", ["A_log", "dt_bias", "conv1d.weight"])
def test_a_tensor_that_is_missing_is_named(name: str) -> None:
    config = CONFIGS["qwen3_5_text"]
    arrays = weights(config)
    del arrays[f"model.layers.0.linear_attn.{name}"]
    with pytest.raises(FtllmError, match=rf"model\.layers\.0\.linear_attn\.{name}"):
        loading.describe(MemoryCheckpoint(dict(config), arrays))
