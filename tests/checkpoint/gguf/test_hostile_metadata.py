"""Metadata of every architecture with values that mean nothing: each is a model or a sentence."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint.gguf.architectures import supported_architectures
from ftllm_nb.errors import FtllmError
from tests.checkpoint.gguf.tiny_models import as_tensors, matrices, metadata, opened
from tests.gguf_files import Tensor, Typed, floats

ENTRIES: dict[str, Any] = {
    "attention.layer_norm_epsilon": 1e-5, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 16, "attention.sliding_window": 16,
    "attention.sliding_window_pattern": 2, "logit_scale": 2.0, "attention.scale": 0.5, "residual_scale": 0.3,
    "attention.key_length": 8, "attention.value_length": 8, "rope.dimension_count": 8, "attention.q_lora_rank": 8,
    "attention.kv_lora_rank": 8, "altup.num_inputs": 4, "altup.active_idx": 0, "attention.shared_kv_layers": 1,
    "embedding_length_per_layer_input": 8, "activation_sparsity_scale": [1.0, 1.0], "attention.key_length_swa": 8,
    "attention.temperature_scale": 0.1, "final_logit_softcapping": 30.0, "rope.freq_base_swa": 100.0,
}  # fmt: skip
VALUES = (
    0, 1, 7, Typed("i32", -1), 2**31, Typed("u64", 2**63), 1.5, 0.0, -1.0, float("nan"), float("inf"), True, False,
    "x", "", [1, 2], [1.0, 2.0], Typed("bool[]", [True, False]), ["a", "b"], Typed("str[]", []),
)  # fmt: skip
TENSORS = {
    "rope_freqs.weight": floats([0, 1, 1, 1]), "rope_factors_long.weight": floats([1, 1, 1, 1]),
    "blk.0.attn_q_norm.weight": floats(np.ones((4, 8))), "per_layer_token_embd.weight": floats(np.ones(8)),
    "altup_proj.weight": floats(np.ones((3, 8, 8))), "blk.x.attn_q.weight": floats([1]),
    "token_embd.weight": floats(np.ones(64)), "blk.0.attn_q.weight": floats(np.ones((3, 32))),
    "blk.99.attn_q.weight": floats(np.ones((32, 32))),
}  # fmt: skip


@pytest.mark.parametrize("architecture", supported_architectures())
def test_values_that_mean_nothing(architecture: str, tmp_path: Path) -> None:
    choice = random.Random(architecture)
    name = architecture.replace("hunyuan_", "hunyuan-")
    whole = as_tensors(matrices())
    for _ in range(15):
        entries = metadata(name)
        keys = [key for key in entries if key != "general.architecture"]
        entries |= {f"{name}.{key}": ENTRIES[key] for key in choice.sample(sorted(ENTRIES), 2)}
        entries[choice.choice([*keys, *entries])] = choice.choice(VALUES)
        entries["general.architecture"] = name
        tensors: dict[str, Tensor] = dict(whole)
        if choice.random() < 0.3:
            tensors.pop(choice.choice(sorted(tensors)))
            more = choice.choice(sorted(TENSORS))
            tensors[more] = TENSORS[more]
        try:
            with opened(tmp_path, entries, tensors) as checkpoint:
                loading.describe(checkpoint)
                for each in checkpoint.tensors:
                    checkpoint.read(each)
        except FtllmError as error:
            assert str(error).isprintable() and str(error).endswith((".", "?"))
