"""The bundled model is what it says it is: a small Qwen2 in bfloat16 that other programs can load."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from random import Random

import pytest
from corpus import SKILLS, training_dialogue
from tokenizer import render
from tokenizers import Tokenizer

from ftllm_nb.checkpoint import open_checkpoint

DEMO = Path(str(files("ftllm_nb") / "demo"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(DEMO / "tokenizer.json"))


def test_size_and_architecture() -> None:
    with open_checkpoint(DEMO) as checkpoint:
        tensors = checkpoint.tensors.values()
        parameters = sum(tensor.nbytes // 2 for tensor in tensors)
        assert {tensor.dtype for tensor in tensors} == {"bfloat16"}
        assert checkpoint.config["model_type"] == "qwen2"
        assert checkpoint.config["tie_word_embeddings"] is True
        assert "lm_head.weight" not in checkpoint.tensors
    assert 3_000_000 <= parameters <= 6_000_000
    assert (DEMO / "model.safetensors").stat().st_size <= 12_000_000


def test_vocabulary(tokenizer: Tokenizer) -> None:
    config = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))
    assert 2000 <= tokenizer.get_vocab_size() == config["vocab_size"] <= 4000
    assert tokenizer.encode("907").tokens == ["9", "0", "7"]
    assert tokenizer.encode("w-o-r-d").tokens == ["w", "-o", "-r", "-d"]
    generation = json.loads((DEMO / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"][0] == tokenizer.token_to_id("<|im_end|>")


@pytest.mark.parametrize(
    "text", ["naïve café 🙂", "  two  spaces\n\n\tand tabs ", "法国的首都是哪里？", "\x00\x7f", "½ + ²"]
)
def test_every_text_survives_the_vocabulary(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_pieces_encode_as_the_whole_dialogue(tokenizer: Tokenizer) -> None:
    batches = pytest.importorskip("batches", reason="needs torch", exc_type=ImportError)
    encoder = batches.Encoder(tokenizer)
    random = Random(2)
    for _ in range(200):
        messages = training_dialogue(random, dict.fromkeys(SKILLS, 1.0))
        assert encoder.document(messages).ids == tokenizer.encode(render(messages, False)).ids
