"""Models that bench/gguf_model.py writes for llama.cpp are the ones that it was given: transformers reads them, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.graph.rope import rope_settings
from ftllm_nb.loading import DEFAULTS, prepare

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.oracle

BENCH = Path(__file__).parents[2] / "bench"
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 160, "max_position_embeddings": 512}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "qwen2.5-0.5b": {},
    "qwen3-0.6b": {"head_dim": 128},
    "llama-3.2-1b": {"head_dim": 16, "rope_scaling": None},
    "gemma-3-1b": {"sliding_window": 16},
}
"""What makes the real models small; transformers takes the size of a head for Qwen's and Gemma's own."""


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, Any]) -> dict[str, Any]:
    """Write a config.json and its random model.gguf into a folder."""
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    from gguf_model import write_gguf

    config: dict[str, Any] = json.loads((BENCH / "configs" / f"{name}.json").read_text()) | SIZES | more
    (folder / "config.json").write_text(json.dumps(config))
    write_gguf(str(folder / "config.json"), "bfloat16", folder / "model.gguf")
    return config


@pytest.mark.parametrize("name", SMALL)
def test_the_same_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    config = written(tmp_path, monkeypatch, name, SMALL[name])
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    given = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config), dtype=torch.float32
    )
    with open_weights(Settings(random_config=str(tmp_path / "config.json"), random=True)) as checkpoint:
        stored = {
            each: torch.from_numpy(checkpoint.read(each).copy()).view(torch.bfloat16).float()
            for each in checkpoint.tensors
        }
    given.load_state_dict(stored, strict=False)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 160, (1, 100)))
    with torch.inference_mode():
        torch.testing.assert_close(read.eval()(ids).logits, given.eval()(ids).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mix", ["Q4_0", "Q8_0", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_XS"])
def test_random_blocks_of_each_mix_keep_the_size_of_what_they_multiply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mix: str
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    from random_gguf import write_random_gguf

    more = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 400, "rope_scaling": None}
    config = json.loads((BENCH / "configs" / "llama-3.2-1b.json").read_text()) | SIZES | more
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_random_gguf(str(tmp_path / "config.json"), mix, tmp_path / "model.gguf", 8)
    tensors = gguf.GGUFReader(tmp_path / "model.gguf").tensors
    matrices = [tensor for tensor in tensors if len(tensor.shape) == 2]
    for tensor in matrices:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert values.std() * values.shape[1] ** 0.5 == pytest.approx(1, abs=0.15), tensor.name
        assert abs(values.mean()) < 0.15 * values.std(), tensor.name
    kinds = {tensor.name: tensor.tensor_type.name for tensor in matrices}
    downs = "".join(kinds[f"blk.{layer}.ffn_down.weight"] + " " for layer in range(8))
    expected = {"Q4_K_M": "Q6_K Q4_K Q4_K Q6_K Q4_K Q4_K Q6_K Q6_K ", "IQ4_XS": "Q5_K " + "IQ4_XS " * 7}
    assert downs == expected.get(mix, downs)
    assert kinds["token_embd.weight"] == ("Q8_0" if mix == "Q8_0" else "Q6_K")
    prepared = prepare(tmp_path / "model.gguf", DEFAULTS)
    with prepared.checkpoint:
        assert len(prepared.tokenizer.apply_chat_template([{"role": "user", "content": "What is 17 + 25?"}])) > 3


MIXTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-30b-a3b": ("Q4_K_M", {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 256}),
    "gpt-oss-20b": ("MXFP4", {"num_local_experts": 6, "num_experts_per_tok": 2}),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_of_random_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Experts are stacks, whatever is no matrix of products is float32, and the file is a model."""
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    from random_gguf import write_random_gguf

    mix, small = MIXTURES[name]
    more = {"hidden_size": 256, "head_dim": 64, "vocab_size": 400, **small}
    config = json.loads((BENCH / "configs" / f"{name}.json").read_text()) | SIZES | more
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_random_gguf(str(tmp_path / "config.json"), mix, tmp_path / "model.gguf", 2)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    down = tensors["blk.1.ffn_down_exps.weight"]
    assert down.shape.tolist() == [256 if name == "qwen3-30b-a3b" else 96, 256, 6]
    values = gguf.dequantize(down.data, down.tensor_type)
    assert values.std() * down.shape[0] ** 0.5 == pytest.approx(1, abs=0.3)
    assert tensors["blk.1.ffn_gate_inp.weight"].tensor_type.name == "F32"
    prepared = prepare(tmp_path / "model.gguf", DEFAULTS)
    with prepared.checkpoint:
        assert prepared.graph.unread_tensors == []


def test_llama_s_scaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers does not read it from GGUF: what llama.cpp divides the speed of each pair by."""
    scaling = {"rope_type": "llama3", "factor": 4.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 64}  # fmt: skip
    config = written(tmp_path, monkeypatch, "llama-3.2-1b", {"head_dim": 16, "rope_scaling": scaling})
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    divisors = tensors["rope_freqs.weight"]
    assert divisors.shape == (8,) and divisors[0] == 1 and divisors[-1] == 4
    frequencies = rope_settings(config, 512).type.frequencies(slice(0, 1))
    plain = 5e5 ** (-np.arange(8) / 8)
    np.testing.assert_allclose(plain / divisors, frequencies, rtol=1e-6)
