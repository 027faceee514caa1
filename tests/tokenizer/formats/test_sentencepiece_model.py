from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from ftllm_nb.tokenizer.formats import tokenizer_formats
from tests.tokenizer.folders import (
    read_config,
    sentencepiece_model,
    write_chatml,
    write_sentencepiece,
    write_sentencepiece_added,
    write_sentencepiece_legacy_files,
)


def open_folder(folder: Path) -> Tokenizer:
    return load_tokenizer(
        folder, read_config(folder, "tokenizer_config.json"), read_config(folder, "config.json")
    )


def library_of(folder: Path) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def spelled(tokenizer: Tokenizer, ids: list[int]) -> str:
    return "|".join(tokenizer.id_to_token(one) or "?" for one in ids)


TEXTS = ["", "hello", "hello  world", " a", "a\nb", "你好 🙂 naïve", "<0x41>", "\x00", "▁"]


def test_tokenizer_json_goes_first(tmp_path: Path) -> None:
    assert [one.FILE_NAME for one in tokenizer_formats()] == ["tokenizer.json", "tokenizer.model"]
    write_sentencepiece(tmp_path)
    write_chatml(tmp_path)
    assert open_folder(tmp_path).token_to_id("<|im_start|>") is not None


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("text", [*TEXTS, "   lead  trail ", "a\n\n b\r\n\tc", "ﬁ Ⅷ"])
def test_without_a_class_the_files_own_settings_hold(
    tmp_path: Path, kind: str, rule: str, text: str
) -> None:
    folder = write_sentencepiece(tmp_path, kind=kind, rule=rule, tokenizer_class=None)
    assert open_folder(folder).encode_text(text) == library_of(folder).EncodeAsIds(text)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_class_with_its_own_code_gets_the_vocabularys_own_rules(
    tmp_path: Path, kind: str, text: str
) -> None:
    auto_map = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
    folder = write_sentencepiece(tmp_path, kind=kind, tokenizer_class="OwnTokenizer", auto_map=auto_map)
    ours, library = open_folder(folder), library_of(folder)
    assert ours.encode_text(text) == library.EncodeAsIds(text)
    assert ours.decode(library.EncodeAsIds(text)) == text.replace("▁", " ")


@pytest.mark.parametrize(
    ("settings", "prompt", "expected"),
    [
        ({}, "hello", "▁hello"),
        ({}, " hello", "▁hello"),
        ({}, "  hello", "▁|▁hello"),
        ({}, "<s>x<s> x", "<s>|x|<s>|▁x"),
        ({}, "x<s>x", "▁x|<s>|x"),
        ({"legacy": True}, "<s>x<s>x", "<s>|▁x|<s>|▁x"),
        ({"add_prefix_space": False}, "x<s> x", "x|<s>|▁x"),
        ({"tokenizer_class": None}, "x<s>x", "▁x|<s>|▁x"),
        ({"tokenizer_class": None, "legacy": False}, "x<s>x", "▁x|<s>|x"),
        ({"tokenizer_class": None, "legacy": False}, "▁x", "▁x"),
    ],
)
def test_where_the_prefix_stands(
    tmp_path: Path, settings: dict[str, Any], prompt: str, expected: str
) -> None:
    ours = open_folder(write_sentencepiece(tmp_path, **settings))
    assert spelled(ours, ours.encode_prompt(prompt)) == expected


def test_characters_outside_the_vocabulary_become_bytes(tmp_path: Path) -> None:
    ours = open_folder(write_sentencepiece(tmp_path))
    assert spelled(ours, ours.encode_text("🜁")) == "▁|<0xF0>|<0x9F>|<0x9C>|<0x81>"
    assert ours.decode(ours.encode_text("🜁")) == "🜁"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["<s>"]),
        ({"add_bos_token": False}, []),
        ({"add_bos_token": None, "add_eos_token": None}, []),
        ({"bos_token": "</s>"}, ["</s>"]),
    ],
)
def test_beginning_of_completions(tmp_path: Path, settings: dict[str, Any], expected: list[str]) -> None:
    ours = open_folder(write_sentencepiece(tmp_path, **settings))
    beginning = [ours.token_to_id(token) for token in expected]
    assert ours.encode_completion("hello") == [*beginning, *ours.encode_text("hello")]


def test_user_defined_symbols_of_a_template_are_control_tokens(tmp_path: Path) -> None:
    template = "<_user>{{ messages[0].content }}<_bot>"
    for auto_map in (None, {"AutoTokenizer": ["own", None]}):
        folder = write_sentencepiece(
            tmp_path, symbols=("<_user>", "<_bot>", "wordlike"), chat_template=template, auto_map=auto_map
        )
        ours = open_folder(folder)
        user, bot, word = (ours.token_to_id(one) for one in ("<_user>", "<_bot>", "wordlike"))
        ids = ours.apply_chat_template([{"role": "user", "content": "a <_bot> wordlike"}])
        assert [one for one in ids if one in (user, bot, word)] == [user, word, bot]
        assert user not in ours.special_ids
        assert ours.decode(ours.encode_text("a <_bot> wordlike")) == "a <_bot> wordlike"


def test_a_message_meets_the_template_in_one_piece(tmp_path: Path) -> None:
    ours = open_folder(write_sentencepiece(tmp_path, chat_template="[INST] hel{{ messages[0].content }}"))
    ids = ours.apply_chat_template([{"role": "user", "content": "lo"}])
    assert spelled(ours, ids).endswith("▁hello")


@pytest.mark.parametrize("write", [write_sentencepiece_added, write_sentencepiece_legacy_files])
def test_added_tokens(tmp_path: Path, write: Any) -> None:
    ours = open_folder(write(tmp_path))
    assert [ours.token_to_id(one) for one in ("<|im_start|>", "<|im_end|>", "<tool_response>")] == [
        480,
        481,
        482,
    ]
    assert {0, 1, 2, 480, 481} == ours.special_ids
    assert ours.vocab_size in (483, 484)
    assert ours.decode([480, *ours.encode_text("hello"), 482, 481]) == "hello<tool_response>"


def test_roles_that_the_folder_leaves_empty(tmp_path: Path) -> None:
    write_sentencepiece(tmp_path, chat_template="{{ bos_token }}.")
    ask = [{"role": "user", "content": "x"}]
    assert load_tokenizer(tmp_path, {"chat_template": "{{ bos_token }}."}, {}).render_chat(ask) == "<s>."
    empty = {"chat_template": "{{ bos_token }}.", "bos_token": None}
    assert load_tokenizer(tmp_path, empty, {}).render_chat(ask) == "."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"not a model at all",
        sentencepiece_model("bpe")[:-1],
        sentencepiece_model("bpe")[:500],
        b"\x0a\xff\xff\xff\xff\x7f" + sentencepiece_model("bpe"),
        b"\x0a\x04\x0a\x02\xff\xfe" + sentencepiece_model("bpe"),
        b'{"model": {}}',
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    write_sentencepiece(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(
        TokenizerError, match=r"tokenizer\.model is damaged or no sentencepiece model: "
    ) as caught:
        open_folder(tmp_path)
    assert "\n" not in str(caught.value)
