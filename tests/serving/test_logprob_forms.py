"""Where tokens begin in a text: text[offset:] begins with the token, also where one is a part of a character."""

from __future__ import annotations

from pathlib import Path

from ftllm_nb.serving.logprob_forms import TextOffsets, prompt_offsets
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from tests.puppet import write_puppet


def tokenizer_of(folder: Path) -> Tokenizer:
    return load_tokenizer(write_puppet(folder / "puppet", "Hi \U0001f600"), {}, {})


def test_offsets_count_the_texts_characters(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path)
    text = "Hi \U0001f600 and ü"
    ids = tokenizer.encode_text(text)
    ends = tokenizer.encode_prompt("<|im_end|>")
    assert len(ids) > len(text), "characters of several tokens"
    offsets = TextOffsets(tokenizer, start=7)
    found = [offsets.next(token_id) - 7 for token_id in [*ids, *ends, *ids]]
    expected = [len(b"".join(map(tokenizer.token_bytes, ids[:at])).decode("utf-8", "ignore")) for at in range(len(ids))]
    # A control token is no part of an answer's text.
    assert found == [*expected, len(text), *(len(text) + each for each in expected)]
    assert prompt_offsets(tokenizer, ids, text) == expected


def test_what_a_tokenizer_puts_before_a_prompt_moves_nothing(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path)
    beginning, ids = tokenizer.encode_prompt("<|im_start|>"), tokenizer.encode_text("Hi you")
    moved = prompt_offsets(tokenizer, [*beginning, *ids], "Hi you")
    assert moved == [0, *prompt_offsets(tokenizer, ids, "Hi you")]
