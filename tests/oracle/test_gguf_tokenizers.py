"""Live against transformers: how its tokenizers cut text, and what GGUF's metadata makes of the same vocabulary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.tokenizer import Tokenizer
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from tests.tokenizer.folders import byte_fallback_json
from tests.tokenizer.gguf.hard_texts import HARD_TEXTS

pytestmark = pytest.mark.oracle
transformers = pytest.importorskip("transformers", minversion="5.24", reason="`make oracle` installs it")

CLASSES = {
    "qwen2": "Qwen2Tokenizer",
    "qwen35": "Qwen3_5Tokenizer",
    "command-r": "CohereTokenizer",
    "olmo": "GPTNeoXTokenizer",
    "gpt-2": "GPT2Tokenizer",
    "gemma4": "GemmaTokenizer",
}
"""transformers' classes that cut text themselves, by the name of their way in GGUF files."""
CHARACTERS = " \n\r\t'sSdLtab0123456789.,!é\u0301你ひ한м½🙂\u200d"
NAMES = ("bos_token", "eos_token", "pad_token", "mask_token")
TEXTS = st.text(alphabet=st.one_of(st.sampled_from(CHARACTERS), st.characters(codec="utf-8")), max_size=20)


def crossing_vocabulary() -> dict[str, Any]:
    """A byte-level vocabulary whose merges cross words wherever the hard texts have some, so that each cut shows."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator([*HARD_TEXTS, *HARD_TEXTS], trainer)
    model: dict[str, Any] = json.loads(library.to_str())["model"]
    return model


def metadata_of(model: dict[str, Any], kind: str, pre: str) -> dict[str, Any]:
    vocabulary = model["vocab"]
    return {
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": sorted(vocabulary, key=vocabulary.__getitem__),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
    }


@pytest.fixture(scope="module", params=list(CLASSES))
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, Any]:
    """One vocabulary, opened by both libraries."""
    name = request.param
    if name == "gemma4":
        model = json.loads(byte_fallback_json())["model"]
        metadata = metadata_of(model, "gemma4", "gemma4")
        kinds = [6 if token.startswith("<0x") else 1 for token in metadata["tokenizer.ggml.tokens"]]
        metadata["tokenizer.ggml.token_type"] = np.array(kinds)
        metadata["tokenizer.ggml.unknown_token_id"] = model["vocab"]["<unk>"]
        names = {"unk_token": "<unk>", **dict.fromkeys(NAMES, "</s>")}
    else:
        model = crossing_vocabulary()
        model["vocab"]["<named>"] = len(model["vocab"])  # which transformers needs, and no text here spells
        metadata = metadata_of(model, "gpt2", name)
        names = dict.fromkeys(("unk_token", *NAMES), "<named>")
    merges = [tuple(each) for each in model["merges"]]
    theirs = getattr(transformers, CLASSES[name])(vocab=model["vocab"], merges=merges, **names)
    return load_gguf_tokenizer(metadata, "m.gguf"), theirs._tokenizer


def test_hard_texts(pair: tuple[Tokenizer, Any]) -> None:
    ours, theirs = pair
    for text in HARD_TEXTS:
        assert ours.encode_text(text) == theirs.encode(text, add_special_tokens=False).ids, text


@settings(deadline=None, max_examples=300)
@given(text=TEXTS)
def test_any_text(pair: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = pair
    ids = ours.encode_text(text)
    assert ids == theirs.encode(text, add_special_tokens=False).ids
    assert ours.decode(ids) == theirs.decode(ids)
