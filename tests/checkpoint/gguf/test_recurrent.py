"""Files of models with recurrent layers: llama.cpp's logits, and what differs between files of one architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb import loading
from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import BlockedType, QuantizedType
from tests.checkpoint.gguf.tiny_models import opened
from tests.gguf_files import Q8_0, Tensor, Typed, floats
from tests.golden.recurrent_files import HIDDEN, INNER, LAYERS, MODELS, TOKENS, VALUE_HEADS, file_of

GOLDEN = Path(__file__).parents[2] / "golden" / "recurrent_logits.npz"
Q4_K = 12


def logits(checkpoint: GgufCheckpoint) -> NDArray[np.float32]:
    """After all tokens but the last, and after that."""
    executor = loading.open_executor(
        loading.describe(checkpoint), checkpoint, WeightTypes(), kv_cache_dtype="float32", engine="reference"
    )
    try:
        sequence = executor.cache.new_sequence()
        parts = (TOKENS[:-1], TOKENS[-1:])
        return np.stack([executor.run([SequenceStep(sequence, part, True)])[0].copy() for part in parts])
    finally:
        executor.close()


@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_llama_cpps(kind: str, tmp_path: Path) -> None:
    with opened(tmp_path, *file_of(kind)) as checkpoint, np.load(GOLDEN) as golden:
        found, meant = logits(checkpoint), golden[kind]
    np.testing.assert_allclose(found, meant, rtol=0, atol=2e-5 * float(np.abs(meant).max()))


def test_layers_may_be_listed(tmp_path: Path) -> None:
    metadata, tensors = file_of("qwen35")
    del metadata["qwen35.full_attention_interval"]
    metadata["qwen35.attention.recurrent_layers"] = Typed("bool[]", [True, False, True, False])
    with opened(tmp_path, metadata, tensors) as checkpoint:
        assert checkpoint.config["layer_types"] == ["linear_attention", "full_attention"] * 2
        assert not [name for name in checkpoint.config if name.startswith("qwen35.")]


def test_layers_that_guess_are_left_out(tmp_path: Path) -> None:
    with opened(tmp_path, *file_of("qwen35 that guesses")) as checkpoint:
        assert checkpoint.config["num_hidden_layers"] == LAYERS
        assert not any(f"layers.{LAYERS}." in name or name.startswith("blk.") for name in checkpoint.tensors)


def test_a_file_whose_layers_all_guess_is_refused(tmp_path: Path) -> None:
    metadata, tensors = file_of("qwen35 that guesses")
    metadata["qwen35.block_count"] = 1
    with pytest.raises(CheckpointError, match=r"has 1 layers \(block_count\), of which 1 only guess further tokens"):
        opened(tmp_path, metadata, tensors)


def blocks(rows: int, columns: int, kind: int) -> Tensor:
    """Random blocks of a type."""
    size, width, scales = {Q8_0: (32, 34, 1), Q4_K: (256, 144, 2)}[kind]
    data = np.random.default_rng(rows).integers(0, 256, (rows, columns // size, width), np.uint8)
    data[..., : 2 * scales] = np.full((*data.shape[:2], scales), 0.003, "<f2").view(np.uint8)
    return Tensor((rows, columns), kind, data.tobytes())


@pytest.mark.parametrize(("kind", "dtype"), [(Q8_0, QuantizedType(8, 32, "float16")), (Q4_K, BlockedType("Q4_K"))])
def test_matrices_keep_their_types(kind: int, dtype: QuantizedType | BlockedType, tmp_path: Path) -> None:
    metadata, tensors = file_of("qwen35")
    width = 256  # of the model, of which a block of Q4_K has as many columns
    metadata["qwen35.embedding_length"] = width
    changed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        sizes = tensor.shape[:1] if "attn_output" in name else tensor.shape  # heads happen to have as many numbers
        shape = tuple(width if size == HIDDEN else size for size in sizes) + tensor.shape[len(sizes) :]
        changed[name] = floats(np.full(shape, -1.0))
        if len(shape) == 2 and shape[1] == width:
            changed[name] = blocks(*shape, kind)
    with opened(tmp_path, metadata, changed) as checkpoint:
        loading.describe(checkpoint)
        for part, name in (("in_proj_qkv", "attn_qkv"), ("in_proj_a", "ssm_alpha"), ("in_proj_z", "attn_gate")):
            own = f"model.layers.0.linear_attn.{part}.weight"
            assert checkpoint.tensors[own].dtype == dtype
            stored = np.frombuffer(changed[f"blk.0.{name}.weight"].data, np.uint8)
            rows = stored.reshape(changed[f"blk.0.{name}.weight"].shape[0], -1)
            np.testing.assert_array_equal(
                checkpoint.read(own), dequantize("Q8_0" if kind == Q8_0 else "Q4_K", rows).reshape(-1, width)
            )


def test_a_file_without_as_many_heads_of_keys_says_how_those_of_values_stand(tmp_path: Path) -> None:
    with opened(tmp_path, *file_of("qwen35")) as checkpoint:
        assert checkpoint.config["linear_value_heads_are_tiled"] is True
    with opened(tmp_path, *file_of("qwen3next")) as checkpoint:
        assert "linear_value_heads_are_tiled" not in checkpoint.config


def changed(kind: str, **entries: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metadata, tensors = file_of(kind)
    own = {f"{metadata['general.architecture']}.{name.replace('__', '.')}": value for name, value in entries.items()}
    return metadata | own, tensors


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"50 as its ssm\.inner_size, which its ssm\.time_step_rank 6"):
        opened(tmp_path, *changed("qwen35", ssm__inner_size=50))
    metadata, tensors = file_of("qwen35")
    wrong = tensors | {"blk.0.ssm_a": floats(np.ones(VALUE_HEADS))}
    with (
        opened(tmp_path, metadata, wrong) as checkpoint,
        pytest.raises(CheckpointError, match="of at most 0, by which"),
    ):
        checkpoint.read("model.layers.0.linear_attn.A_log")
    with pytest.raises(CheckpointError, match=r"layers whose attention.head_count_kv differ \(1, 2\)"):
        opened(tmp_path, *changed("lfm2", attention__head_count_kv=Typed("i32[]", [0, 1, 2, 0])))
    wrong = tensors | {"blk.0.ssm_conv1d.weight": floats(np.ones(INNER))}
    with opened(tmp_path, metadata, wrong) as checkpoint, pytest.raises(CheckpointError, match="conv1d"):
        loading.describe(checkpoint)


def test_a_models_kinds_of_layers_are_those_of_its_numbers(tmp_path: Path) -> None:
    with opened(tmp_path, *file_of("nemotron_h_moe")) as checkpoint:
        kinds = checkpoint.config["layers_block_type"]
        assert kinds == ["linear_attention", "full_attention", "moe", "linear_attention"]
    lists = {
        "block_count": LAYERS + 1, "nextn_predict_layers": 1,
        "attention__head_count_kv": Typed("i32[]", [0, 2, 0, 0, 2]),
        "feed_forward_length": Typed("i32[]", [0, 0, INNER, 0, INNER]),
    }  # fmt: skip
    with opened(tmp_path, *changed("nemotron_h_moe", **lists)) as checkpoint:  # the last layer guesses further tokens
        assert checkpoint.config["layers_block_type"] == kinds
        loading.describe(checkpoint)
