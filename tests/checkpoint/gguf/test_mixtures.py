"""Mixtures of experts in GGUF: the types of their stacks, and what differs between files of one architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb import loading
from ftllm_nb.checkpoint.gguf.architectures.deepseek2 import DeepSeekV3
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import BlockedType, QuantizedType
from tests.checkpoint.gguf.tiny_models import HIDDEN, INNER, as_tensors, matrices, metadata, numbers, opened
from tests.gguf_files import Q8_0, Tensor

EXPERTS, PICKS = 5, 2
MXFP4 = 39
STACKS = {"gate": (EXPERTS, INNER, HIDDEN), "up": (EXPERTS, INNER, HIDDEN), "down": (EXPERTS, HIDDEN, INNER)}


def entries(architecture: str, **more: Any) -> dict[str, Any]:
    return metadata(architecture, expert_count=EXPERTS, expert_used_count=PICKS, **more)


def blocks(rows: int, columns: int, kind: int, seed: int) -> NDArray[np.uint8]:
    """Random numbers in a type with blocks of 32, [rows, bytes of a row]."""
    rng = np.random.default_rng((seed, rows))
    if kind == MXFP4:
        made = rng.integers(0, 256, (rows, columns // 32, 17), np.uint8)
        made[..., 0] = rng.integers(120, 124, made.shape[:2])
    else:
        made = rng.integers(0, 256, (rows, columns // 32, 34), np.uint8)
        made[..., :2] = np.full((*made.shape[:2], 1), 0.003, "<f2").view(np.uint8)
    return made.reshape(rows, -1)


def mixture(kind: int, *, as_stacks: bool) -> dict[str, Tensor]:
    """Tensors of a model whose layers are mixtures, their experts as stacks or one by one."""
    found = as_tensors({name: each for name, each in matrices().items() if "ffn_" not in name or "norm" in name})
    for layer in range(2):
        found |= as_tensors({f"blk.{layer}.ffn_gate_inp": numbers(EXPERTS, HIDDEN, seed=layer)})
        for seed, (part, (count, rows, columns)) in enumerate(STACKS.items()):
            data = blocks(count * rows, columns, kind, 10 * layer + seed)
            if as_stacks:
                found[f"blk.{layer}.ffn_{part}_exps.weight"] = Tensor((count, rows, columns), kind, data.tobytes())
                continue
            for expert, own in enumerate(data.reshape(count, rows, -1)):
                found[f"blk.{layer}.ffn_{part}.{expert}.weight"] = Tensor((rows, columns), kind, own.tobytes())
    return found


@pytest.mark.parametrize(("kind", "dtype"), [(MXFP4, BlockedType("MXFP4")), (Q8_0, QuantizedType(8, 32, "float16"))])
def test_stacks_keep_their_types(kind: int, dtype: BlockedType | QuantizedType, tmp_path: Path) -> None:
    with opened(tmp_path, entries("llama"), mixture(kind, as_stacks=True)) as checkpoint:
        graph = loading.describe(checkpoint)
        stacks = [weight for weight in graph.packed if weight.type.rank == 3]
        assert {weight.type.dtype for weight in stacks} == {dtype}
        assert len(stacks) == 6
        format_of = WeightTypes().formats(graph)
        stored = sum(checkpoint.tensors[weight.tensor].nbytes for weight in stacks)
        packed = 0
        for weight in stacks:
            count, rows, columns = weight.type.matrices
            packed += count * format_of(weight).packed_bytes(rows, columns)
    assert packed <= stored * 1.05


def logits(checkpoint: GgufCheckpoint, engine: str) -> NDArray[np.float32]:
    executor = loading.open_executor(
        loading.describe(checkpoint), checkpoint, WeightTypes(), kv_cache_dtype="float32", engine=engine
    )
    try:
        tokens = np.arange(3, 20, dtype=np.int32)
        return executor.run([SequenceStep(executor.cache.new_sequence(), tokens, True)])[0].copy()
    finally:
        executor.close()


@pytest.mark.parametrize("kind", [pytest.param(MXFP4, marks=pytest.mark.slow), Q8_0])
def test_stacks_multiply_as_experts_one_by_one(kind: int, tmp_path: Path) -> None:
    with opened(tmp_path, entries("llama"), mixture(kind, as_stacks=True)) as checkpoint:
        assert checkpoint.config["model_type"] == "mixtral"
        found, meant = logits(checkpoint, "compiled"), logits(checkpoint, "reference")
    with opened(tmp_path, entries("llama"), mixture(kind, as_stacks=False)) as checkpoint:
        np.testing.assert_array_equal(logits(checkpoint, "reference"), meant)
        singly = logits(checkpoint, "compiled")
    np.testing.assert_allclose(found, meant, rtol=0, atol=0.02 * float(np.abs(meant).max()))  # activations of 8 bits
    np.testing.assert_array_equal(singly, found)


def test_scores_that_are_made_otherwise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"scores of experts in another way \(expert_gating_func 2\)"):
        opened(tmp_path, entries("qwen3moe", expert_gating_func=2), mixture(Q8_0, as_stacks=True))


def latent(**more: Any) -> dict[str, Any]:
    return entries(
        "deepseek2", attention__kv_lora_rank=16, attention__key_length=24, attention__value_length=16,
        attention__key_length_mla=16, attention__value_length_mla=12, rope__dimension_count=8,
        rope__scaling__type="yarn", rope__scaling__factor=40.0, rope__scaling__original_context_length=64,
        rope__scaling__yarn_log_multiplier=0.0707, expert_feed_forward_length=INNER, attention__head_count_kv=1, **more,
    )  # fmt: skip


def test_deepseek_is_told_by_how_scores_are_made(tmp_path: Path) -> None:
    for gating, model_type in ((0, "deepseek_v2"), (1, "deepseek_v2"), (2, "deepseek_v3")):
        told = {"expert_gating_func": gating} if gating else {}
        with opened(tmp_path, latent(**told), mixture(Q8_0, as_stacks=True)) as checkpoint:
            config = checkpoint.config
        assert config["model_type"] == model_type
        assert (config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]) == (8, 8, 12)
        assert config["rope_scaling"]["mscale_all_dim"] == 0.707


@pytest.mark.parametrize(
    ("layers", "tokens", "rank", "biases", "said"),
    [
        (27, 102400, None, 0, ()), (48, 128256, None, 0, ()), (61, 129280, 1536, 0, ()),
        (48, 129280, None, 0, ("no q_lora_rank",)),
        (12, 1000, None, 2, ("no q_lora_rank", "blk.0.attn_kv_a_mqa.bias")),
    ],
)  # fmt: skip
def test_what_llama_cpp_refuses_of_deepseek_is_said(
    layers: int, tokens: int, rank: int | None, biases: int, said: tuple[str, ...]
) -> None:
    names = ("kv_a_proj_with_mqa.bias", "o_proj.bias", "kv_a_layernorm.weight")
    kept = [*names[:biases], names[2]]
    config = {"num_hidden_layers": layers, "vocab_size": tokens, "q_lora_rank": rank}
    shapes = {f"model.layers.0.self_attn.{name}": (8,) for name in kept}
    model = OutgoingModel("deepseek2", config, 1e-6, 4, 4, 16, {}, {}, shapes, {})
    sentences = DeepSeekV3.refused(model)
    assert len(sentences) == len(said)
    for sentence, part in zip(sentences, said, strict=True):
        assert sentence.startswith("llama.cpp may not open this file") and part in sentence


def test_layers_that_guess_further_tokens_are_left_out(tmp_path: Path) -> None:
    path = latent(expert_gating_func=2, nextn_predict_layers=1)
    with opened(tmp_path, path, mixture(Q8_0, as_stacks=True)) as checkpoint:
        assert checkpoint.config["num_hidden_layers"] == 1
        assert not any(".layers.1." in name or name.startswith("blk.1.") for name in checkpoint.tensors)
