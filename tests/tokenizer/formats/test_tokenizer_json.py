from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import Tokenizer as OurTokenizer
from ftllm_nb.tokenizer import load_tokenizer
from tests.tokenizer.folders import (
    FOLDERS,
    byte_level_tokenizer,
    read_config,
    write_byte_fallback,
    write_chatml,
    write_headers,
)


def open_folder(folder: Path) -> OurTokenizer:
    return load_tokenizer(
        folder, read_config(folder, "tokenizer_config.json"), read_config(folder, "config.json")
    )


def saved(library: Any, folder: Path, tokenizer_config: dict[str, Any] | None = None) -> OurTokenizer:
    library.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder, tokenizer_config or {}, {})


def library_of(folder: Path) -> Any:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    "form", ["chatml", "headers", "unigram", "word pieces", "joined role", "byte fallback of mistral"]
)
def test_ids_and_text_are_the_librarys(form: str, tmp_path: Path) -> None:
    folder = FOLDERS[form](tmp_path)
    ours, library = open_folder(folder), library_of(folder)
    for text in ("", "hello  world", " a\n\nb", "你好 🙂 naïve", "12345 don't <p>"):
        ids = library.encode(text, add_special_tokens=False).ids
        assert ours.encode_text(text) == ids
        assert ours.decode(ids) == library.decode(ids, skip_special_tokens=True)


CHARACTERS = st.text(alphabet="a é你🙂\u0301\ufffd", max_size=6)


@given(ids=st.lists(st.integers(0, 425)))
def test_any_ids_of_a_byte_level_vocabulary(ids: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    ours, library = _chatml(tmp_path_factory)
    assert ours.decode(ids) == library.decode(ids, skip_special_tokens=True)


@given(text=CHARACTERS, seed=st.integers(0, 2**32 - 1))
def test_pushed_text_has_no_half_characters(
    text: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours, _ = _chatml(tmp_path_factory)
    stream = ours.stream_decoder()
    pieces = [stream.push(one) for one in ours.encode_text(text)]
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in pieces)
        assert stream.finish() == ""


_opened: list[tuple[OurTokenizer, Any]] = []


def _chatml(factory: pytest.TempPathFactory) -> tuple[OurTokenizer, Any]:
    if not _opened:
        folder = write_chatml(factory.mktemp("chatml"))
        _opened.append((open_folder(folder), library_of(folder)))
    return _opened[0]


def test_beginning_of_sequence_is_for_completions_only(tmp_path: Path) -> None:
    ours = open_folder(write_headers(tmp_path))
    begin = ours.bos_token_id
    assert ours.encode_completion("hello") == [begin, *ours.encode_text("hello")]
    assert ours.encode_completion("") == [begin]
    ids = ours.apply_chat_template([{"role": "user", "content": "hello"}])
    assert ids[0] == begin and ids.count(begin) == 1


@pytest.mark.parametrize(
    ("legacy", "expected"),
    [(False, "hello▁ / x / ▁hello"), (True, "▁hello▁ / ▁x / ▁hello")],
)
def test_llama_rules(tmp_path: Path, legacy: bool, expected: str) -> None:
    ours = open_folder(write_byte_fallback(tmp_path, legacy=legacy))
    parts = ["<s>hello ", "<s>x", "hello"]
    found = ["".join(ours.id_to_token(one) or "" for one in ours.encode_prompt(part)) for part in parts]
    assert " / ".join(found).replace("<s>", "") == expected


def test_truncation_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    library = byte_level_tokenizer(["<pad>"])
    library.enable_truncation(2)
    library.enable_padding(length=50)
    ours = saved(library, tmp_path)
    assert 2 < len(ours.encode_text("hello world, what is it?")) < 50


def test_tokens_of_the_config_are_added(tmp_path: Path) -> None:
    library = byte_level_tokenizer(["<|im_start|>"])
    size = library.get_vocab_size()
    ours = saved(
        library,
        tmp_path,
        {
            "added_tokens_decoder": {
                str(size + 1): {"content": "<new>", "special": False},
                str(size): {"content": "<|new|>", "special": True},
            },
            "eos_token": "<eos>",
            "additional_special_tokens": ["<|im_start|>", "<extra>"],
        },
    )
    contents = ["<|new|>", "<new>", "<eos>", "<extra>"]
    assert [ours.token_to_id(content) for content in contents] == [size, size + 1, size + 2, size + 3]
    assert ours.vocab_size == size + 4
    assert {size, size + 2, size + 3} < ours.special_ids and size + 1 not in ours.special_ids
    assert ours.encode_prompt("<new><eos>") == [size + 1, size + 2]


def test_ordinary_added_words_stay_words(tmp_path: Path) -> None:
    """Runs of spaces and words that a model adds are vocabulary, in messages too."""
    ours = saved(byte_level_tokenizer(["<s>"], ordinary=["    ", "covid"]), tmp_path)
    spaces, covid = ours.token_to_id("    "), ours.token_to_id("covid")
    assert [one for one in ours.encode_text("a    covid") if one in (spaces, covid)] == [spaces, covid]
    # … and in a text that also spells a control token.
    assert [one for one in ours.encode_text("a    covid <s>") if one in (spaces, covid)] == [spaces, covid]
    assert ours.token_to_id("<s>") not in ours.encode_text("a    covid <s>")


def test_a_normalizer_cannot_make_a_control_token(tmp_path: Path) -> None:
    library = byte_level_tokenizer([])
    library.normalizer = normalizers.Lowercase()
    library.add_special_tokens([AddedToken("<end>", special=True, normalized=True)])
    ours = saved(library, tmp_path)
    assert library.encode("<END>").ids == [ours.token_to_id("<end>")]
    assert ours.token_to_id("<end>") not in ours.encode_text("<END> <end>")
    assert ours.decode(ours.encode_text("<END> <end>")) == "<end> <end>"


def test_a_vocabulary_cannot_make_a_control_token(tmp_path: Path) -> None:
    """Merges that spell a special token's text give its id, in the library as in transformers."""
    characters = "<end>a"
    vocabulary = {one: index for index, one in enumerate(dict.fromkeys(characters))}
    merges = [("<", "e"), ("<e", "n"), ("<en", "d"), ("<end", ">")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    library = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    library.add_special_tokens([AddedToken("<end>", special=True)])
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    ours = saved(library, tmp_path)
    end = ours.token_to_id("<end>")
    assert end == vocabulary["<end>"]
    for text in ("<end>", "a<end>a", "<end><end>", "<<end>"):
        ids = ours.encode_text(text)
        assert end not in ids and "".join(ours.id_to_token(one) or "" for one in ids) == text
    assert ours.encode_prompt("a<end>") == [vocabulary["a"], end]


def test_a_control_token_of_one_character(tmp_path: Path) -> None:
    library = Tokenizer(models.BPE(vocab={"a": 0, "§": 1}, merges=[]))
    library.add_special_tokens([AddedToken("§", special=True)])
    ours = saved(library, tmp_path)
    assert ours.encode_text("a§a") == [0, 0]
    assert ours.encode_prompt("a§a") == [0, 1, 0]


def test_vocabularies_with_holes(tmp_path: Path) -> None:
    """Ids above the number of tokens must not be taken for control tokens, nor the reverse."""
    vocabulary = {"a": 0, "b": 11, "<": 3, "s": 4, ">": 5, "<s>": 9, "<t>": 10}
    library = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    library.add_special_tokens([AddedToken("<s>", special=True), AddedToken("<t>", special=True)])
    ours = saved(library, tmp_path, {"chat_template": "<s>{{ messages[0].content }}<t>"})
    ids = ours.apply_chat_template([{"role": "user", "content": "ab<s>b"}])
    assert ids == [9, 0, 11, 3, 4, 5, 11, 10]
    assert ours.vocab_size == 12 and ours.decode([11]) == "b"


def test_flags_of_control_tokens_hold_where_a_message_spells_one(tmp_path: Path) -> None:
    library = byte_level_tokenizer([])
    library.add_special_tokens([AddedToken("<turn>", special=True, lstrip=True, rstrip=True)])
    template = "<turn> {{ messages[0].content }} <turn> a"
    ours = saved(library, tmp_path, {"chat_template": template})
    turn = ours.token_to_id("<turn>")
    ids = ours.apply_chat_template([{"role": "user", "content": "x<turn>y"}])
    assert ids == [turn, *ours.encode_text("x<turn>y"), turn, *ours.encode_text("a")]


def test_files_of_older_versions(tmp_path: Path) -> None:
    """Merges as strings, fields left out."""
    write_chatml(tmp_path)
    description = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    newest = open_folder(tmp_path).encode_text("hello world")
    description["model"]["merges"] = [" ".join(pair) for pair in description["model"]["merges"]]
    for name in ("truncation", "padding"):
        del description[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(description), encoding="utf-8")
    assert open_folder(tmp_path).encode_text("hello world") == newest


def test_a_vocabulary_without_unknown_token(tmp_path: Path) -> None:
    ours = saved(Tokenizer(models.Unigram([("a", -1.0), ("b", -2.0)], unk_id=None)), tmp_path)
    assert ours.encode_text("ab") == [0, 1]
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot encode this text: ") as caught:
        ours.encode_text("c")
    assert "\n" not in str(caught.value)


def test_a_panic_of_the_library_is_an_error_of_the_file(tmp_path: Path) -> None:
    """A post-processor whose token the file does not describe."""
    write_headers(tmp_path)
    description = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    description["post_processor"]["processors"][1]["special_tokens"] = {}
    (tmp_path / "tokenizer.json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json "):
        open_folder(tmp_path).encode_completion("hello")
