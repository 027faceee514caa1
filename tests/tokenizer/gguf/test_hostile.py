"""Whatever stands in the metadata, there is a tokenizer or one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from tests.tokenizer.gguf.golden_vocabularies import golden

MODELS = {name: golden(name)[0] for name in ("qwen2", "llama-spm", "gemma-4", "phi-3")}
KEYS = [
    *sorted({key for metadata in MODELS.values() for key in metadata if key.startswith("tokenizer.")}),
    "tokenizer.chat_template",
    "tokenizer.chat_templates",
    "tokenizer.chat_template.a",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.precompiled_charsmap",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.add_space_prefix",
]
WORDS = st.sampled_from(
    ["", " ", "a", "▁", "▁a", "<s>", "$A", "$B", "a:1", "<0x41>", "[PAD3]", "\x00", "é", "\udc80", "a b"]
)
NUMBERS = st.one_of(st.integers(-2, 12), st.sampled_from([2**31, 2**32 - 1, 2**63, -(2**63)]))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.floats(),
    WORDS,
    st.lists(WORDS, max_size=8),
    st.lists(NUMBERS, max_size=8).map(lambda values: np.array(values, object if values else float)),
    st.lists(st.integers(0, 6), max_size=8).map(lambda values: np.array(values, np.int32)),
    st.lists(st.floats(width=32), max_size=8).map(lambda values: np.array(values, np.float32)),
)


def answer(metadata: dict[str, Any]) -> str:
    """The sentence, "" where there is a tokenizer, which works."""
    try:
        tokenizer = load_gguf_tokenizer(metadata, "m.gguf", embedding_rows=100_000)
        ids = tokenizer.encode_completion("a ▁ <s> é\x00")
        assert all(0 <= token_id < tokenizer.vocab_size for token_id in ids)
        tokenizer.decode(ids)
        assert all(0 <= token_id < tokenizer.vocab_size for token_id in tokenizer.eos_token_ids)
    except TokenizerError as error:
        return str(error)
    return ""


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(
    model=st.sampled_from(sorted(MODELS)),
    changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3),
)
def test_any_values(model: str, changes: dict[str, Any]) -> None:
    sentence = answer({**MODELS[model], **changes})
    assert not sentence or (sentence.startswith("m.gguf") and sentence.endswith(".") and "\n" not in sentence)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(
    model=st.sampled_from(["gpt2", "llama", "t5", "gemma4"]),
    tokens=st.lists(WORDS, min_size=1, max_size=8),
    kinds=st.lists(st.integers(0, 6), min_size=8, max_size=8),
    ids=st.dictionaries(st.sampled_from(["bos", "eos", "unknown", "eot", "padding"]), st.integers(-1, 8), max_size=4),
    flags=st.dictionaries(st.sampled_from(["add_bos_token", "add_eos_token", "add_space_prefix"]), st.booleans()),
)
def test_small_vocabularies(
    model: str, tokens: list[str], kinds: list[int], ids: dict[str, int], flags: dict[str, bool]
) -> None:
    metadata = {
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.scores": np.linspace(-5, -1, len(tokens)).astype(np.float32),
        "tokenizer.ggml.token_type": np.array(kinds[: len(tokens)], np.int32),
        **{f"tokenizer.ggml.{role}_token_id": token_id for role, token_id in ids.items()},
        **{f"tokenizer.ggml.{name}": flag for name, flag in flags.items()},
    }
    sentence = answer(metadata)
    assert not sentence or (sentence.startswith("m.gguf") and sentence.endswith(".") and "\n" not in sentence)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_metadata_as_it_is(model: str) -> None:
    assert answer(MODELS[model]) == ""


def test_a_piece_that_ends_before_it_begins() -> None:
    """Older versions of SentencePiece end the process on it."""
    tokens = ["<unk>", "\0", "a"]
    metadata = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.zeros(3, np.float32),
        "tokenizer.ggml.token_type": np.array([2, 1, 1], np.int32),
        "tokenizer.ggml.unknown_token_id": 0,
    }
    assert "piece 1 holds the character of number 0" in answer(metadata)
