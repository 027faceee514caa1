"""Tokenizers of folders as GGUF's metadata, and back as files of a folder: the same tokens, templates and ends."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from ftllm_nb.tokenizer.gguf.folder import tokenizer_files
from ftllm_nb.tokenizer.gguf.pre_tokenizers import _FAMILIES, name_of
from ftllm_nb.tokenizer.gguf.probes import PROBES
from ftllm_nb.tokenizer.gguf.write import tokenizer_entries
from tests.tokenizer.folders import (
    read_config,
    write_byte_fallback,
    write_chatml,
    write_headers,
    write_sentencepiece,
    write_sentencepiece_added,
    write_unigram,
    write_word_pieces,
)
from tests.tokenizer.gguf.hard_texts import HARD_TEXTS

FOLDERS: dict[str, Callable[[Path], Path]] = {
    "chatml": write_chatml,
    "headers": write_headers,
    "sentencepiece": write_sentencepiece,
    "without a space": lambda folder: write_sentencepiece(folder, add_prefix_space=False),
    "added": write_sentencepiece_added,
    "byte fallback": write_byte_fallback,
}


def opened(folder: Path) -> Tokenizer:
    configs = (read_config(folder, f"{name}.json") for name in ("tokenizer_config", "config", "generation_config"))
    return load_tokenizer(folder, *configs)


def same(ours: Tokenizer, theirs: Tokenizer) -> None:
    control = "".join(theirs.id_to_token(each) or "" for each in sorted(theirs.special_ids))
    spaces = [text for text in (*PROBES, *HARD_TEXTS) if text.startswith(" ")]
    in_pieces = "▁" in (theirs.id_to_token(theirs.encode_text("a")[0]) or "")
    for text in (*PROBES, *HARD_TEXTS, control, f"a{control}b"):
        if in_pieces and (text in spaces or text.endswith("b")):
            continue  # transformers puts no space before another there, nor behind control tokens; SentencePiece does
        ids = theirs.encode_prompt(text)
        assert ours.encode_prompt(text) == ids, text
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.encode_completion(text) == theirs.encode_completion(text)
    assert ours.bos_token_id == theirs.bos_token_id and ours.eos_token_ids >= theirs.eos_token_ids
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    assert ours.render_chat(messages) == theirs.render_chat(messages)


@pytest.mark.parametrize("name", FOLDERS)
def test_there_and_back(name: str, tmp_path: Path) -> None:
    given = opened(FOLDERS[name](tmp_path / "given"))
    rows = given.vocab_size + 7
    metadata = tokenizer_entries(given, rows, "model")
    assert len(metadata["tokenizer.ggml.tokens"]) == len(metadata["tokenizer.ggml.token_type"]) == rows
    assert metadata["tokenizer.ggml.tokens"][-1] == f"[PAD{rows - 1}]"
    assert metadata["tokenizer.ggml.token_type"].dtype == np.int32
    read = load_gguf_tokenizer(metadata, "m.gguf")
    same(read, given)
    files, ends = tokenizer_files(metadata, "m.gguf")
    back = tmp_path / "back"
    back.mkdir()
    for file, content in files.items():
        (back / file).write_bytes(content)
    (back / "generation_config.json").write_text(f'{{"eos_token_id": {ends}}}')
    same(opened(back), read)


def test_every_way_of_cutting_is_recognized() -> None:
    """By what it does: a name may stand for another way only where both cut alike."""
    from ftllm_nb.tokenizer.gguf.models.gpt2 import _cutter

    for names, way in _FAMILIES:
        runs = _cutter(way)

        def cut(text: str, runs: object = runs, nfc: bool = way.nfc) -> list[str]:
            composed = unicodedata.normalize("NFC", text) if nfc else text
            return [word for word, _ in runs.pre_tokenize_str(composed)]  # type: ignore[attr-defined]

        found = name_of(cut, _cutter, way.nfc, way.whole_words, "model")
        other = next(each for known, each in _FAMILIES if found in known.split())
        alike = _cutter(other)
        for text in HARD_TEXTS:
            assert alike.pre_tokenize_str(text) == runs.pre_tokenize_str(text), (found, names)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_word_pieces, "is of a kind that no GGUF file can hold"),
        (write_unigram, "is of a kind that no GGUF file can hold"),
    ],
)
def test_kinds_that_no_file_can_hold(write: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    given = opened(write(tmp_path / "given"))
    with pytest.raises(TokenizerError, match=said):
        tokenizer_entries(given, given.vocab_size, "model")


def test_more_tokens_than_rows(tmp_path: Path) -> None:
    given = opened(write_chatml(tmp_path / "given"))
    with pytest.raises(TokenizerError, match="the model's embedding 100 rows"):
        tokenizer_entries(given, 100, "model")


def test_ends_that_no_spelling_tells_get_places_of_their_own(tmp_path: Path) -> None:
    folder = write_chatml(tmp_path / "given")
    (folder / "generation_config.json").write_text('{"eos_token_id": [65, 66, 67]}')
    given = opened(folder)
    metadata = tokenizer_entries(given, given.vocab_size, "model")
    assert metadata["tokenizer.ggml.eot_token_id"] == 65 and metadata["tokenizer.ggml.eom_token_id"] == 66
    assert {65, 66} <= load_gguf_tokenizer(metadata, "m.gguf").eos_token_ids
