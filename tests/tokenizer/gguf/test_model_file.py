"""A whole model file: its tokenizer and how flags replace it, before weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.cli import main
from ftllm_nb.loading import DEFAULTS, PreparedModel, prepare
from tests.checkpoint.gguf.tiny_models import HIDDEN, as_tensors, matrices, write
from tests.checkpoint.gguf.tiny_models import metadata as model_metadata
from tests.gguf_files import Typed
from tests.tokenizer.folders import write_chatml
from tests.tokenizer.gguf.converted import of_tokenizer_json

QUESTION = [{"role": "user", "content": "hello world"}]
TEMPLATE = "{{ messages[0].content }} of the file"


@pytest.fixture
def chatml(tmp_path: Path) -> Path:
    return write_chatml(tmp_path / "chatml")


@pytest.fixture
def file(chatml: Path, tmp_path: Path) -> Path:
    return written(tmp_path, of_tokenizer_json(chatml, "qwen2"))


def written(folder: Path, tokenizer: dict[str, Any]) -> Path:
    embedding = np.zeros((len(tokenizer["tokenizer.ggml.tokens"]), HIDDEN), np.float32)
    arrays = {**matrices(), "token_embd": embedding}
    entries = {**model_metadata("llama"), **tokenizer, "tokenizer.chat_template": TEMPLATE}
    kinds = "tokenizer.ggml.token_type"
    entries[kinds] = Typed("i32[]", entries[kinds].tolist())
    return write(folder, entries, as_tensors(arrays))


def prepared(path: Path, **options: Any) -> PreparedModel:
    model = prepare(path, DEFAULTS, warn=print, **options)
    model.checkpoint.close()
    return model


def test_the_files_own_tokenizer(file: Path) -> None:
    tokenizer = prepared(file).tokenizer
    assert tokenizer.render_chat(QUESTION) == "hello world of the file"
    assert tokenizer.decode(tokenizer.encode_text("hello world")) == "hello world"
    assert tokenizer.token_to_id("<|im_end|>") in tokenizer.eos_token_ids


def test_another_tokenizer(file: Path, chatml: Path) -> None:
    assert "<|im_start|>" in prepared(file, tokenizer=chatml).tokenizer.render_chat(QUESTION)


def test_a_sentence_names_the_way_out(
    chatml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, of_tokenizer_json(chatml, "unheard-of"))
    assert main(["chat", "-p", str(path), "-m", "hi"]) == 2
    said = capsys.readouterr().err
    assert "tokenizer.ggml.pre is 'unheard-of'" in said and "--tokenizer" in said and "Traceback" not in said
    assert "<|im_start|>" in prepared(path, tokenizer=chatml).tokenizer.render_chat(QUESTION)
