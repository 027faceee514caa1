"""Each architecture from GGUF: the same logits as from the folder that the file was made of."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb import loading
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.checkpoint.gguf.architectures import supported_architectures, writing_architectures
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from tests.oracle.architectures import ARCHITECTURES
from tests.oracle.config_parts import DELTA, EXPERTS, LINEAR, LOCAL, MAMBA, SIZES

pytestmark = pytest.mark.oracle
gguf = pytest.importorskip("gguf", reason="`make oracle` installs it")
pytest.importorskip("torch", reason="`make oracle` installs it")
pytest.importorskip("tests.oracle.torch_models", reason="registers what transformers lacks")

FULL, SLIDING = "full_attention", "sliding_attention"
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
STRETCHED = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e5}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
UNTOLD = {
    "smollm3": {1, 2, 3},  # llama.cpp has neither windows here nor other layers without rotation
    "mistral": {1, 2},  # nor windows here
    "starcoder2": {1},
    "qwen2": {1, 2},
    "qwen3": {2},
    "olmoe": {1, 2},  # nor weights that are normalized, nor biases
    "qwen3_moe": {0, 1, 2},  # nor layers without experts, nor weights that are not normalized
    "gemma2": {0, 1, 2},  # nor another scale than a head's; softcaps are always there
    "gemma3_text": {0, 1, 2},
    "gemma3n_text": {1, 2},  # nor other numbers of streams, nor a smaller table of layers' embeddings
    "gemma4_text": {3},
    "mixtral": {1},
    "qwen2_moe": {1, 2},
    "gpt_oss": {1},  # nor other limits of gates, nor other layers that slide
    "deepseek_v3": {1},  # neighbours always turn
    "glm4_moe_lite": {1},  # nor other layers that are dense
    "ernie4_5_moe": {1, 2},  # nor where experts end, nor a least sum of weights
    "phimoe": {0, 1, 2},  # the original context is always there, the jitter and factors by length are not
    "hunyuan_v1_moe": {1},  # nor numbers for each layer
    "llama4_text": {0, 1, 2, 3, 4, 5},  # chunks are fixed, experts always there
    "exaone4": {2},
    "gpt2": {1, 2},  # nor these
    "gpt_neox": {2},
    "phi": {1, 2},  # nor these
    "cohere2": {2},  # biases are not converted
    "ministral3": {0, 1, 2},  # nor windows, and mscale_all_dim is always there
    "minicpm": {2},  # longrope without the original context
    "minicpm3": {0, 1, 2, 3},
    "lfm2": {1},  # nor biases
    "lfm2_moe": {1},  # nor weights that are not normalized
    "qwen3_next": {1},  # nor other layers without experts
    "qwen3_5_text": {1},  # nor other layers that attend
    "granitemoehybrid": {1},  # nor biases of projections
    "falcon_h1": {1, 2},  # nor limits of time steps, nor gelu
    "nemotron_h": {0, 1, 2},
    "mamba2": {1, 2},
    "kimi_linear": {0, 1, 2},  # nor another number of heads in delta nets, nor groups
}
"""Configurations that are beyond what llama.cpp's metadata tells."""
MORE: dict[str, list[dict[str, Any]]] = {
    "llama": [{"rope_parameters": LLAMA3}, {"rope_parameters": STRETCHED, "head_dim": 20}],
    "gemma2": [{"sliding_window": 12, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 20.0}],
    "gemma3_text": [
        {"sliding_window": 12, "query_pre_attn_scalar": 16, "final_logit_softcapping": 5.0},
        {"sliding_window": 12, "num_hidden_layers": 7, "query_pre_attn_scalar": 16,
         "rope_parameters": {FULL: STRETCHED, SLIDING: {"rope_type": "default", "rope_theta": 1e4}}},
    ],
    "qwen3": [{"rope_parameters": YARN}],
    "qwen3_moe": [EXPERTS | {"norm_topk_prob": True}],
    "phimoe": [
        {"num_local_experts": 6, "head_dim": None, "attention_bias": True, "lm_head_bias": True,
         "original_max_position_embeddings": 256},
    ],
    "llama4_text": [
        LOCAL | {"intermediate_size_mlp": 72, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2},
        LOCAL | {"intermediate_size_mlp": 72, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
                 "rope_parameters": LLAMA3, "tie_word_embeddings": True},
    ],
    "ernie4_5_moe": [
        {"moe_num_experts": 5, "moe_k": 5, "moe_intermediate_size": 20, "moe_num_shared_experts": 0, "use_bias": True,
         "moe_layer_start_index": 0, "moe_layer_interval": 2, "tie_word_embeddings": False},
    ],
    "ministral3": [
        {"rope_parameters": YARN | {"llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": 1.0,
                                    "original_max_position_embeddings": 7}, "head_dim": 20},
        {"rope_parameters": YARN | {"llama_4_scaling_beta": 0.4, "mscale": 1.0, "mscale_all_dim": 0.5},
         "tie_word_embeddings": True},
    ],
    "exaone4": [{"sliding_window": 12, "rope_parameters": LLAMA3}],
    "qwen3_5_text": [
        DELTA | {"linear_num_value_heads": 6, "full_attention_interval": 2, "tie_word_embeddings": True,
                 "layer_types": [LINEAR, FULL, LINEAR, FULL], "linear_conv_kernel_dim": 2},
        DELTA | {"linear_num_key_heads": 4},
    ],
    "granitemoehybrid": [
        MAMBA | LOCAL | {"layer_types": [LINEAR, FULL, LINEAR, FULL], "shared_intermediate_size": 24,
                         "position_embedding_type": "rope", "mamba_n_heads": 3, "mamba_d_head": 32,
                         "mamba_n_groups": 1, "mamba_d_conv": 3, "attention_multiplier": 0.25},
    ],
    "minicpm3": [
        {"q_lora_rank": 20, "kv_lora_rank": 24, "qk_nope_head_dim": 8, "qk_rope_head_dim": 12, "v_head_dim": 12,
         "num_key_value_heads": 4, "head_dim": None, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256},
    ],
}  # fmt: skip
NOT_READ = (
    "telechat", "laguna", "bamba", "falcon_h1", "mamba2", "nemotron_h", "olmo_hybrid", "kimi_linear", "zamba2", "lfm3",
)  # fmt: skip
"""What the names of architectures begin with of which no GGUF file is written here."""
BESIDE_LLAMA_CPP = {"falcon_h1", "mamba2", "nemotron_h", "nemotron_h_moe", "kimi_linear"}
"""Those whose files tests/golden/recurrent_files.py writes alone, to compare with llama.cpp."""
ROWS = [
    *((name, number, config) for name, configs in ARCHITECTURES.items() for number, config in enumerate(configs)
      if not name.startswith(NOT_READ) and number not in UNTOLD.get(name, ())),
    *((name, 10 + number, config) for name, configs in MORE.items() for number, config in enumerate(configs)),
]  # fmt: skip
FEWER = [row for row in ROWS if row[1] in (0, 10) or row[0] not in writing_architectures()]
"""Of what this program writes, test_gguf_written.py compares all these files, number by number, with those that it
writes itself and reads."""
ROUNDED = (
    "gemma", "gemma2", "gemma3_text", "gpt2", "phi3-2", "llama-10", "exaone4-10", "hunyuan_v1_dense-3", "minicpm",
    "gpt_oss", "granitemoe", "llama4_text", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "granitemoehybrid",
    "falcon_h1", "mamba2", "nemotron_h", "kimi_linear",
)  # fmt: skip
"""Norms less the 1 that was added, divisors of angles, factors and bases in float32, decays in place of their
logarithms, matrices that lie the other way or are cut in two: the last bits may differ."""


def logits(checkpoint: Checkpoint, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """After all tokens, then after one more."""
    graph = loading.describe(checkpoint)
    executor = loading.open_executor(
        graph, checkpoint, WeightTypes(), kv_cache_dtype="float32", threads=1, engine="reference"
    )
    try:
        sequence = executor.cache.new_sequence()
        first = executor.run([SequenceStep(sequence, tokens[:-1], True)])[0].copy()
        return np.stack([first, executor.run([SequenceStep(sequence, tokens[-1:], True)])[0]])
    finally:
        executor.close()


def test_every_architecture_is_tried() -> None:
    from tests.oracle.gguf_models import KINDS

    written = {gguf.MODEL_ARCH_NAMES[kind.arch].replace("-", "_") for kind in KINDS.values()}
    assert set(supported_architectures()) == written | BESIDE_LLAMA_CPP
    assert {name for name, _, _ in ROWS} == set(KINDS)


@pytest.mark.parametrize(("architecture", "number", "changes"), FEWER, ids=[f"{row[0]}-{row[1]}" for row in FEWER])
def test_logits_are_the_folders(architecture: str, number: int, changes: dict[str, Any], tmp_path: Path) -> None:
    from tests.oracle.gguf_models import write_gguf
    from tests.oracle.test_architectures import random_model

    random_model(architecture, copy.deepcopy(changes), tmp_path)
    write_gguf(tmp_path, tmp_path / "model.gguf")
    tokens = np.random.default_rng(number).integers(3, SIZES["vocab_size"], 41).astype(np.int32)
    with open_checkpoint(tmp_path) as folder:
        expected = logits(folder, tokens)
    with open_checkpoint(tmp_path / "model.gguf") as file:
        got = logits(file, tokens)
    if architecture in ROUNDED or f"{architecture}-{number}" in ROUNDED:
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()))
    else:
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "stablelm", "starcoder2", "gpt2"]
)
def test_tensors_are_those_that_transformers_reads(architecture: str, tmp_path: Path) -> None:
    import transformers

    from tests.oracle.gguf_models import write_gguf
    from tests.oracle.test_architectures import random_model

    random_model(architecture, copy.deepcopy(ARCHITECTURES[architecture][0]), tmp_path)
    write_gguf(tmp_path, tmp_path / "model.gguf")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype="float32", config=transformers.AutoConfig.from_pretrained(tmp_path)
    )
    theirs = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    with open_checkpoint(tmp_path / "model.gguf") as checkpoint:
        ours = {name: checkpoint.read(name) for name in checkpoint.tensors}
    turned = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight") if architecture == "gpt2" else ()
    for name, values in ours.items():  # those of GPT-2 lie the usual way here
        np.testing.assert_array_equal(values.T if name.endswith(turned) else values, theirs[name], name)
    assert set(theirs) - set(ours) <= {"lm_head.weight"}
