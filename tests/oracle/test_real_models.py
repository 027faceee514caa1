"""Models with real weights against transformers: logits over a text, and greedy answers token by token.

`make real-models` makes the folders, names them in FTLLM_NB_REAL_MODELS and runs these.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine.executor import SequenceStep
from tests.executors import open_executor
from tests.oracle.differences import Differences
from tests.real_models import SOURCES

pytestmark = pytest.mark.real
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")

TEXT = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
TOKENS, FILE_TOKENS, ANSWER = 600, 200, 40
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module", params=list(SOURCES))
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(os.environ["FTLLM_NB_REAL_MODELS"]) / str(request.param)


@pytest.fixture(scope="module")
def peer(folder: Path) -> Any:
    """transformers' model and tokenizer."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def test_logits_over_a_text(folder: Path, peer: Any, differences: Differences) -> None:
    model, tokenizer = peer
    ids = tokenizer(TEXT)["input_ids"][:TOKENS]
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    with open_executor("compiled", folder) as executor:
        sequence, rows = executor.cache.new_sequence(), []
        for start in range(0, len(ids), 256):
            chunk = np.array(ids[start : start + 256], np.int32)
            rows.append(executor.run([SequenceStep(sequence, chunk, len(chunk))]).copy())
    largest = float(np.abs(np.concatenate(rows) - expected).max() / np.abs(expected).max())
    differences.check(f"{folder.name}, {len(ids)} tokens of text", "compiled", largest, 1e-4)


def test_logits_of_the_gguf_file(folder: Path, peer: Any, differences: Differences) -> None:
    """The folder holds what the file's numbers stand for."""
    model, tokenizer = peer
    ids = tokenizer(TEXT)["input_ids"][:FILE_TOKENS]
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    with open_executor("reference", folder.with_suffix(".gguf")) as executor:
        tokens = np.array(ids, np.int32)
        rows = executor.run([SequenceStep(executor.cache.new_sequence(), tokens, len(tokens))])
        largest = float(np.abs(rows - expected).max() / np.abs(expected).max())
    differences.check(f"{folder.name}.gguf, {len(ids)} tokens of text", "reference", largest, 1e-4)


def test_answer_of_the_gguf_file(folder: Path) -> None:
    """By floats: rounded activations tip the small models' first word."""
    from ftllm_nb import llm

    with llm.model(str(folder.with_suffix(".gguf")), engine="reference") as ours:
        got = "".join(ours.stream_response(QUESTION, temperature=0, max_length=12))
    assert "Paris" in got


def test_greedy_answer(folder: Path, peer: Any) -> None:
    from ftllm_nb import llm

    model, tokenizer = peer
    if tokenizer.chat_template:
        prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)
    else:
        prompt = "The capital of France is"
    ids = tokenizer(prompt, add_special_tokens=not tokenizer.chat_template, return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(**ids, max_new_tokens=ANSWER, do_sample=False)[0, ids["input_ids"].shape[1] :]
    expected = tokenizer.decode(made, skip_special_tokens=True)
    with llm.model(str(folder), kv_cache_dtype="float32") as ours:
        given: Any = QUESTION if tokenizer.chat_template else prompt
        got = "".join(ours.stream_response(given, temperature=0, max_length=ANSWER))
    assert got == expected
