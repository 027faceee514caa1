"""Every mistake in the metadata of a tokenizer is one sentence that names the key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import Tokenizer
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from tests.tokenizer.gguf.golden_vocabularies import golden

KEY = "tokenizer.ggml."
BYTE_PAIRS, PIECES = golden("qwen2")[0], golden("llama-spm")[0]


def opened(metadata: dict[str, Any], changes: dict[str, Any], **options: Any) -> Tokenizer:
    changed = {**metadata, **{KEY + name: value for name, value in changes.items()}}
    return load_gguf_tokenizer({key: value for key, value in changed.items() if value is not None}, "m.gguf", **options)


def tokens(metadata: dict[str, Any]) -> list[str]:
    return list(metadata[KEY + "tokens"])


def replaced(values: Any, at: int, value: Any) -> Any:
    changed = values.copy()
    changed[at] = value
    return changed


COUNT = len(tokens(BYTE_PAIRS))
MERGES = BYTE_PAIRS[KEY + "merges"]


@pytest.mark.parametrize(
    ("metadata", "changes", "said"),
    [
        (BYTE_PAIRS, {"model": None}, "tokenizer.ggml.model is missing: the file has no tokenizer"),
        (BYTE_PAIRS, {"model": "rwkv"}, "is 'rwkv', and gemma4, gpt2, llama, t5 are known: give .* --tokenizer DIR"),
        (BYTE_PAIRS, {"model": 7}, "tokenizer.ggml.model must be a string, not 7"),
        (BYTE_PAIRS, {"pre": "unheard-of"}, "pre is 'unheard-of', .* --tokenizer DIR; known are .*llama-bpe.*qwen2"),
        (BYTE_PAIRS, {"tokens": None}, "tokens is missing or empty: the file has no tokenizer"),
        (BYTE_PAIRS, {"tokens": []}, "tokens is missing or empty"),
        (BYTE_PAIRS, {"tokens": np.arange(3)}, "tokens must be a list of strings"),
        (BYTE_PAIRS, {"tokens": ["a", b"b"]}, "tokens must be a list of strings"),
        (BYTE_PAIRS, {"tokens": replaced(tokens(BYTE_PAIRS), 5, "!")}, "lists '!' twice, as 0 and 5"),
        (BYTE_PAIRS, {"tokens": replaced(tokens(BYTE_PAIRS), 5, "\udc80")}, "token 5 of .* is no valid UTF-8"),
        (BYTE_PAIRS, {"token_type": np.ones(3, int)}, f"token_type has 3 values, and there are {COUNT} tokens"),
        (BYTE_PAIRS, {"token_type": np.full(COUNT, 9)}, "token_type is 9 of token 0, and 6 is the last kind"),
        (BYTE_PAIRS, {"token_type": np.ones(COUNT)}, "token_type must be a list of whole numbers"),
        (BYTE_PAIRS, {"token_type": "1"}, "token_type must be a list of whole numbers"),
        (BYTE_PAIRS, {"merges": None}, "merges is missing, and the vocabulary makes tokens by merges"),
        (BYTE_PAIRS, {"merges": [*MERGES, "a"]}, f"two tokens with a space between, and {len(MERGES)} is 'a'"),
        (BYTE_PAIRS, {"merges": [*MERGES, "a b c"]}, "must list two tokens with a space between"),
        (BYTE_PAIRS, {"merges": ["a", "b c d", *MERGES]}, "must list two tokens with a space between, and 0 is 'a'"),
        (BYTE_PAIRS, {"merges": ["! \u4e00", *MERGES]}, "joins '!' and '\u4e00' as 0, and '\u4e00' is no token"),
        (BYTE_PAIRS, {"merges": ["! Z", *MERGES]}, "joins '!' and 'Z' as 0, and '!Z' is no token"),
        (BYTE_PAIRS, {"eos_token_id": COUNT}, f"eos_token_id is {COUNT}, and the file has {COUNT} tokens"),
        (BYTE_PAIRS, {"eot_token_id": -2}, "eot_token_id is -2, and the file has"),
        (BYTE_PAIRS, {"bos_token_id": True}, "bos_token_id must be a token's id, not True"),
        (BYTE_PAIRS, {"add_bos_token": "yes"}, "add_bos_token must be true or false, not 'yes'"),
        (BYTE_PAIRS, {"add_bos_token": True, "bos_token_id": None}, "add_bos_token is true, and .* names no token"),
        (PIECES, {"scores": None}, "scores is missing"),
        (PIECES, {"scores": np.zeros(3)}, "scores has 3 values, and there are"),
        (PIECES, {"scores": np.full(len(tokens(PIECES)), np.nan)}, "scores holds what is no finite number"),
    ],
)
def test_mistakes(metadata: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TokenizerError, match=said) as caught:
        opened(metadata, changes)
    assert str(caught.value).startswith("m.gguf: ") and str(caught.value).endswith(".")


def test_more_tokens_than_the_embedding_has_rows() -> None:
    with pytest.raises(TokenizerError, match=rf"tokens lists {COUNT} tokens, and the embedding has {COUNT - 1} rows\."):
        opened(BYTE_PAIRS, {}, embedding_rows=COUNT - 1)
    assert opened(BYTE_PAIRS, {}, embedding_rows=COUNT + 64).vocab_size == COUNT


def test_a_file_from_before_pre_tokenizers_had_names() -> None:
    assert opened(BYTE_PAIRS, {"pre": None}).encode_text("a1") == opened(BYTE_PAIRS, {}).encode_text("a1")
    with pytest.raises(TokenizerError, match=r"pre is missing, .*: give .* --tokenizer DIR, or convert"):
        opened({**BYTE_PAIRS, "general.architecture": "llama"}, {"pre": None})


def test_ids_that_stand_for_no_token() -> None:
    for none in (-1, 2**32 - 1):
        assert opened(BYTE_PAIRS, {"bos_token_id": none}).bos_token_id is None


def test_tokens_without_a_name_and_fillers_are_never_found_in_text() -> None:
    count = len(tokens(BYTE_PAIRS))
    longer = [*tokens(BYTE_PAIRS), "", f"[PAD{count + 1}]"]
    kinds = np.append(BYTE_PAIRS[KEY + "token_type"], [1, 4])
    tokenizer = opened(BYTE_PAIRS, {"tokens": longer, "token_type": kinds})
    assert tokenizer.vocab_size == count + 2
    assert tokenizer.encode_text(longer[-1]) == opened(BYTE_PAIRS, {}).encode_text(longer[-1])
    assert tokenizer.id_to_token(count) == f"[EMPTY_{count}]"


def test_old_converters_call_fillers_unknown() -> None:
    longer = [*tokens(PIECES), f"[PAD{len(tokens(PIECES))}]"]
    grown = {
        "tokens": longer,
        "scores": np.append(PIECES[KEY + "scores"], -10000.0),
        "token_type": np.append(PIECES[KEY + "token_type"], 2),
    }
    tokenizer = opened(PIECES, grown)
    assert tokenizer.encode_text(longer[-1]) == opened(PIECES, {}).encode_text(longer[-1])
    assert len(longer) - 1 not in tokenizer.special_ids


def test_the_unknown_token_is_found_by_its_kind() -> None:
    shifted = {
        "tokens": ["<pad>", *tokens(PIECES)],
        "scores": np.append([0.0], PIECES[KEY + "scores"]),
        "token_type": np.append([3], PIECES[KEY + "token_type"]),
        "unknown_token_id": None,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    assert opened(PIECES, shifted).encode_text("hello") == [
        token_id + 1 for token_id in opened(PIECES, {}).encode_text("hello")
    ]


def test_bytes_are_found_by_their_spelling() -> None:
    kinds = np.where(PIECES[KEY + "token_type"] == 6, 1, PIECES[KEY + "token_type"])
    assert opened(PIECES, {"token_type": kinds}).decode(opened(PIECES, {}).encode_text("\x01é𝄞")) == "\x01é𝄞"


def test_phi_3_swallows_the_space_after_a_control_token() -> None:
    metadata, _ = golden("phi-3")
    longer = [*tokens(metadata), "<|user|>"]
    grown = {
        "tokens": longer,
        "scores": np.append(metadata[KEY + "scores"], -1000.0),
        "token_type": np.append(metadata[KEY + "token_type"], 3),
    }
    user = len(longer) - 1
    tokenizer = opened(metadata, grown)
    assert tokenizer.encode_prompt("<|user|> \n a") == [user, *tokenizer.encode_text("a")]
    other = opened({**metadata, "general.name": "other"}, grown)
    assert other.encode_prompt("<|user|>\na") == [user, *other.encode_text("\na")]
