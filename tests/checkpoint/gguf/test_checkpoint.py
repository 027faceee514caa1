"""GGUF files as checkpoints: names, orders of rows, types, and what is not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.quantized_type import QuantizedType
from tests.checkpoint.gguf.tiny_models import (
    HEAD_DIM,
    HEADS,
    HIDDEN,
    INNER,
    KV_HEADS,
    VOCABULARY,
    as_tensors,
    matrices,
    metadata,
    numbers,
    opened,
    write,
)
from tests.gguf_files import F16, Q4_0, Q8_0, Tensor, floats
from tests.memory_checkpoint import MemoryCheckpoint

BFLOAT16, Q4_1, Q4_K = 30, 3, 12


def in_order_of_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's rows of neighbours, one after the other, as transformers has them."""
    found = []
    for head in rows.reshape(heads, -1, *rows.shape[1:]):
        found += [head[0::2], head[1::2]]
    return np.concatenate(found)


def test_llama_has_hugging_faces_names_and_order_of_rows(tmp_path: Path) -> None:
    arrays = matrices()
    biases = {"blk.0.attn_q.bias": numbers(HEADS * HEAD_DIM), "blk.0.attn_k.bias": numbers(KV_HEADS * HEAD_DIM)}
    with opened(tmp_path, metadata("llama"), as_tensors(arrays | biases)) as checkpoint:
        read = {name: checkpoint.read(name) for name in checkpoint.tensors}
    at = "model.layers.1."
    np.testing.assert_array_equal(read["model.embed_tokens.weight"], arrays["token_embd"])
    np.testing.assert_array_equal(read["model.norm.weight"], arrays["output_norm"])
    np.testing.assert_array_equal(read[f"{at}input_layernorm.weight"], arrays["blk.1.attn_norm"])
    np.testing.assert_array_equal(read[f"{at}post_attention_layernorm.weight"], arrays["blk.1.ffn_norm"])
    np.testing.assert_array_equal(read[f"{at}self_attn.v_proj.weight"], arrays["blk.1.attn_v"])
    np.testing.assert_array_equal(read[f"{at}self_attn.o_proj.weight"], arrays["blk.1.attn_output"])
    for name in ("gate", "up", "down"):
        np.testing.assert_array_equal(read[f"{at}mlp.{name}_proj.weight"], arrays[f"blk.1.ffn_{name}"])
    for name, heads in (("q", HEADS), ("k", KV_HEADS)):
        for found, stored in (
            (f"{at}self_attn.{name}_proj.weight", arrays[f"blk.1.attn_{name}"]),
            (f"model.layers.0.self_attn.{name}_proj.bias", biases[f"blk.0.attn_{name}.bias"]),
        ):
            np.testing.assert_array_equal(read[found], in_order_of_halves(stored, heads))
    assert len(read) == len(arrays) + 2


def test_rows_of_blocks_are_put_in_order_as_they_are(tmp_path: Path) -> None:
    rows = HEADS * HEAD_DIM
    data = np.random.default_rng(3).integers(0, 60, (rows, 20), np.uint8)
    tensors = as_tensors(matrices()) | {"blk.0.attn_q.weight": Tensor((rows, HIDDEN), Q4_1, data.tobytes())}
    with opened(tmp_path, metadata("llama"), tensors) as checkpoint:
        got = checkpoint.read("model.layers.0.self_attn.q_proj.weight")
        assert checkpoint.tensors["model.layers.0.self_attn.q_proj.weight"].nbytes == data.nbytes
    np.testing.assert_array_equal(got, dequantize("Q4_1", in_order_of_halves(data, HEADS)))


@pytest.mark.parametrize(("kind", "name", "width", "bits"), [(Q8_0, "Q8_0", 34, 8), (Q4_0, "Q4_0", 18, 4)])
def test_blocks_of_integers_are_read_as_integers(kind: int, name: str, width: int, bits: int, tmp_path: Path) -> None:
    data = np.random.default_rng(4).integers(0, 60, (INNER, width), np.uint8)
    tensors = as_tensors(matrices()) | {"blk.0.ffn_up.weight": Tensor((INNER, HIDDEN), kind, data.tobytes())}
    with opened(tmp_path, metadata("llama"), tensors) as checkpoint:
        up = "model.layers.0.mlp.up_proj.weight"
        assert checkpoint.tensors[up].dtype == QuantizedType(bits, 32, "float16")
        stored, floats = checkpoint.read_integers(up), checkpoint.read(up)
        with pytest.raises(CheckpointError, match=r"no quantized tensor named 'model\.norm\.weight'"):
            checkpoint.read_integers("model.norm.weight")
    assert stored.numbers.dtype == np.int8 and stored.scales.dtype == np.float16 and stored.zero_points is None
    meant = stored.numbers.astype(np.float32) * np.repeat(stored.scales.astype(np.float32), 32, axis=1)
    np.testing.assert_array_equal(meant, floats)
    np.testing.assert_array_equal(floats, dequantize(name, data))


def test_half_floats_stay_as_they_are(tmp_path: Path) -> None:
    half = numbers(INNER, HIDDEN).astype(np.float16)
    bits = np.arange(HIDDEN * INNER, dtype=np.uint16).reshape(HIDDEN, INNER)
    tensors = as_tensors(matrices()) | {
        "blk.0.ffn_up.weight": Tensor(half.shape, F16, half.tobytes()),
        "blk.0.ffn_down.weight": Tensor(bits.shape, BFLOAT16, bits.tobytes()),
    }
    with opened(tmp_path, metadata("llama"), tensors) as checkpoint:
        types = {name: checkpoint.tensors[f"model.layers.0.mlp.{name}_proj.weight"].dtype for name in ("up", "down")}
        assert types == {"up": "float16", "down": "bfloat16"}
        np.testing.assert_array_equal(checkpoint.read("model.layers.0.mlp.up_proj.weight"), half)
        np.testing.assert_array_equal(checkpoint.read("model.layers.0.mlp.down_proj.weight"), bits)


def test_a_model_answers_as_from_a_folder(tmp_path: Path) -> None:
    """The compiled engine on the file, against the reference on the same numbers by their names."""
    hidden = 256  # a block of Q4_K, whose products other tests have compiled
    tensors = as_tensors(matrices(hidden=hidden))
    data = np.random.default_rng(5).integers(0, 60, (INNER, hidden // 32, 34), np.uint8)
    data[..., 1] = 20  # scales of about 0.01
    tensors["blk.1.ffn_up.weight"] = Tensor((INNER, hidden), Q8_0, data.tobytes())
    for name, rows in (("token_embd", VOCABULARY), ("blk.0.attn_q", HEADS * HEAD_DIM), ("blk.0.ffn_gate", INNER)):
        blocks = np.random.default_rng(rows).integers(0, 256, (rows, 144), np.uint8)
        blocks[:, :4] = np.array([2e-4, 1.5e-3], np.float16).view(np.uint8)  # their mean is about 0
        tensors[f"{name}.weight"] = Tensor((rows, hidden), Q4_K, blocks.tobytes())
    lengths = {f"attention__{name}_length": HEAD_DIM for name in ("key", "value")}
    entries = metadata("llama", embedding_length=hidden, rope__dimension_count=HEAD_DIM, **lengths)
    path = write(tmp_path, entries, tensors)
    ids = np.array([3, 9, 27, 40], np.int32)

    def logits(checkpoint: GgufCheckpoint | MemoryCheckpoint, engine: str) -> np.ndarray:
        executor = loading.open_executor(
            loading.describe(checkpoint), checkpoint, WeightTypes(), kv_cache_dtype="float32", engine=engine
        )
        try:
            return executor.run([SequenceStep(executor.cache.new_sequence(), ids, True)])[0].copy()
        finally:
            executor.close()

    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint, GgufCheckpoint)
        arrays = {name: checkpoint.read(name) for name in checkpoint.tensors}
        expected = logits(MemoryCheckpoint(checkpoint.config, arrays), "reference")
        np.testing.assert_allclose(logits(checkpoint, "reference"), expected, atol=1e-4)
        np.testing.assert_allclose(logits(checkpoint, "compiled"), expected, atol=0.02)


def test_gemmas_norms_are_without_their_one(tmp_path: Path) -> None:
    arrays = matrices()
    with opened(tmp_path, metadata("gemma"), as_tensors(arrays)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("model.norm.weight"), arrays["output_norm"] - np.float32(1))
        np.testing.assert_array_equal(checkpoint.read("model.layers.0.mlp.up_proj.weight"), arrays["blk.0.ffn_up"])


def test_q_k_and_v_of_each_head_lie_together_in_gpt_neox(tmp_path: Path) -> None:
    arrays = {name: each for name, each in matrices().items() if ".attn_" not in name or "norm" in name}
    merged = np.arange(3 * HEADS * HEAD_DIM, dtype=np.float32)
    arrays["blk.0.attn_qkv"] = np.repeat(merged[:, None], HIDDEN, axis=1)
    arrays["blk.0.attn_qkv.bias"] = merged
    entries = metadata("gptneox", attention__layer_norm_rms_epsilon=None, attention__layer_norm_epsilon=1e-5)
    with opened(tmp_path, entries, as_tensors(arrays)) as checkpoint:
        got = checkpoint.read("gpt_neox.layers.0.attention.query_key_value.bias")
        matrix = checkpoint.read("gpt_neox.layers.0.attention.query_key_value.weight")
    expected = merged.reshape(3, HEADS, HEAD_DIM).swapaxes(0, 1).reshape(-1)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(matrix[:, 0], expected)


def test_q_k_and_v_of_older_phi_2_files_are_rows_of_one(tmp_path: Path) -> None:
    arrays = {name: each for name, each in matrices().items() if ".attn_" not in name or "norm" in name}
    merged = np.arange((HEADS + 2 * KV_HEADS) * HEAD_DIM, dtype=np.float32)
    arrays["blk.0.attn_qkv.bias"] = merged
    arrays["blk.0.attn_qkv"] = np.repeat(merged[:, None], HIDDEN, axis=1)
    entries = metadata("phi2", attention__layer_norm_rms_epsilon=None, attention__layer_norm_epsilon=1e-5)
    begin = 0
    with opened(tmp_path, entries, as_tensors(arrays)) as checkpoint:
        for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            expected = merged[begin : begin + heads * HEAD_DIM]
            begin += len(expected)
            np.testing.assert_array_equal(checkpoint.read(f"model.layers.0.self_attn.{part}_proj.bias"), expected)
            matrix = checkpoint.read(f"model.layers.0.self_attn.{part}_proj.weight")
            np.testing.assert_array_equal(matrix[:, -1], expected)


def test_stablelms_norms_of_heads_are_rows_of_one(tmp_path: Path) -> None:
    arrays = {**matrices(), "blk.0.attn_q_norm": numbers(HEADS, HEAD_DIM)}
    entries = metadata("stablelm", attention__layer_norm_rms_epsilon=None, attention__layer_norm_epsilon=1e-5)
    with opened(tmp_path, entries, as_tensors(arrays)) as checkpoint:
        for head in range(HEADS):
            got = checkpoint.read(f"model.layers.0.self_attn.q_layernorm.norms.{head}.weight")
            np.testing.assert_array_equal(got, arrays["blk.0.attn_q_norm"][head])


def refused(folder: Path, entries: dict[str, object], tensors: dict[str, Tensor]) -> str:
    """The sentence on a file that cannot be opened, or whose graph cannot be made."""
    with pytest.raises((CheckpointError, GraphError)) as caught, opened(folder, entries, tensors) as checkpoint:
        loading.describe(checkpoint)
    return str(caught.value)


def test_tensors_that_nothing_is_known_of(tmp_path: Path) -> None:
    more = {"blk.1.attn_q_norm.weight": floats(numbers(HEAD_DIM)), "blk.0.ffn_up.scale": floats([2.0])}
    assert "holds \"model.layers.1.self_attn.q_norm.weight\", a norm" in refused(
        tmp_path, metadata("llama"), as_tensors(matrices()) | {name: more[name] for name in list(more)[:1]}
    )
    assert "holds 'blk.0.ffn_up.scale', for which the architecture 'llama' has no use" in refused(
        tmp_path, metadata("llama"), as_tensors(matrices()) | {name: more[name] for name in list(more)[1:]}
    )


def test_entries_that_change_what_is_computed_are_refused_and_others_not(tmp_path: Path) -> None:
    tensors = as_tensors(matrices())
    says = refused(tmp_path, metadata("llama", attention__clamp_kqv=8.0), tensors)
    assert says.startswith("the config of model.gguf has llama.attention.clamp_kqv = 8.0, by which GGUF changes what a")
    says = refused(tmp_path, metadata("llama", attention__head_count_kv=3), as_tensors(matrices(kv_heads=3)))
    assert says.startswith("in the config of model.gguf, num_attention_heads 4 is no multiple of its num_key_value_")
    assert "qwen2.expert_count = 8" in refused(tmp_path, metadata("qwen2", expert_count=8), tensors)
    harmless = {
        "attention__clamp_kqv": 0.0, "expert_count": 0, "attention__causal": True, "vocab_size": 64,
        "rope__scaling__finetuned": True, "rope__dimension_count": HEAD_DIM, "rope__scaling__type": "none",
        "attention__value_length": HEAD_DIM,
    }  # fmt: skip
    with opened(tmp_path, metadata("llama", **harmless), tensors) as checkpoint:
        loading.describe(checkpoint)


def test_an_unknown_architecture_is_named_and_may_be_described_by_a_file(tmp_path: Path) -> None:
    entries = metadata("hovercraft")
    says = refused(tmp_path, entries, as_tensors(matrices()))
    assert "model.gguf has the architecture 'hovercraft', of which no GGUF files are read" in says
    assert ": describe the model in a Python file" in says and "docs/gguf.md lists the " in says
    says = refused(tmp_path, metadata("olmo_hybrid"), as_tensors(matrices()))  # a model_type with tensors of its own
    assert "the architecture 'olmo_hybrid', of which no GGUF files are read" in says and "nearest is olmo2" in says
    file = tmp_path / "hovercraft.py"
    file.write_text(
        "from ftllm.llm import ComputeGraph\n"
        "class Hovercraft(ComputeGraph):\n"
        "    def build(self):\n"
        "        self.Embedding(self.data['inputIds'], self.weight['model.embed_tokens.weight'], self.data['x'])\n"
        "        self.SplitLastTokenStates(self.data['x'], self.data['seqLens'], self.data['x'])\n"
        "        self.RMSNorm(self.data['x'], self.weight['model.norm.weight'], self.config['rms_norm_eps'],\n"
        "                     self.data['x'])\n"
        "        self.Linear(self.data['x'], self.weight['lm_head.weight'], self.weight['lm_head.bias'],\n"
        "                    self.data['logits'])\n"
        "__model__ = Hovercraft\n"
    )
    with opened(tmp_path, entries, as_tensors(matrices())) as checkpoint:
        assert loading.describe(checkpoint, file).vocab_size == VOCABULARY


def test_a_folder_with_one_model(tmp_path: Path) -> None:
    write(tmp_path, metadata("llama"), as_tensors(matrices()), "any-Q8_0.gguf")
    (tmp_path / "mmproj-any-f16.gguf").write_bytes(b"GGUF")
    (tmp_path / "README.md").write_text("a model")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.path == tmp_path / "any-Q8_0.gguf"
    write(tmp_path, metadata("llama"), as_tensors(matrices()), "any-F32.gguf")
    with pytest.raises(CheckpointError, match=r"holds 2 models in GGUF \('any-F32.gguf', 'any-Q8_0.gguf'\): give"):
        open_checkpoint(tmp_path)


def test_a_file_of_any_name(tmp_path: Path) -> None:
    with open_checkpoint(write(tmp_path, metadata("llama"), as_tensors(matrices()), "sha256-1f2e")) as checkpoint:
        assert checkpoint.config["model_type"] == "llama"
