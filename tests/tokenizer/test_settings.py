from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import load_tokenizer
from ftllm_nb.tokenizer.added_tokens import AddedToken
from ftllm_nb.tokenizer.settings import read_settings
from tests.hostile.spoiling import good_weights
from tests.tokenizer.folders import read_config, write_chatml, write_json


def test_defaults(tmp_path: Path) -> None:
    settings = read_settings(tmp_path, {}, {})
    assert (settings.tokenizer_class, settings.model_type, settings.named, settings.added) == (
        None,
        None,
        {},
        [],
    )
    assert settings.add_prefix_space and not (
        settings.legacy or settings.add_bos_token or settings.add_eos_token
    )


@pytest.mark.parametrize(
    ("tokenizer_class", "model_type", "expected"),
    [
        ("LlamaTokenizer", "llama", True),
        ("LlamaTokenizerFast", "telechat", True),
        ("LlamaTokenizer", "mistral", False),
        ("LlamaTokenizer", "qwen2", False),
        ("PreTrainedTokenizerFast", "llama", False),
        (None, "llama", False),
    ],
)
def test_llama_rules(tmp_path: Path, tokenizer_class: str | None, model_type: str, expected: bool) -> None:
    settings = read_settings(tmp_path, {"tokenizer_class": tokenizer_class}, {"model_type": model_type})
    assert settings.follows_llama_rules is expected


def test_named_and_extra_tokens(tmp_path: Path) -> None:
    settings = read_settings(
        tmp_path,
        {
            "bos_token": "<s>",
            "eos_token": {"content": "</s>", "lstrip": True},
            "pad_token": None,
            "unk_token": "",
            "image_token": "<image>",
            "additional_special_tokens": ["<a>", {"content": "<b>"}],
            "add_bos_token": True,
        },
        {},
    )
    assert settings.named == {
        "bos_token": AddedToken("<s>", special=True),
        "eos_token": AddedToken("</s>", special=True, lstrip=True),
    }
    assert [token.content for token in settings.extra_special] == ["<image>", "<a>", "<b>"]
    assert settings.unnamed == {"pad_token", "unk_token"} and settings.add_bos_token


def test_added_tokens_decoder_comes_in_order_of_ids(tmp_path: Path) -> None:
    write_json(tmp_path / "added_tokens.json", {"<ignored>": 1})
    write_json(tmp_path / "special_tokens_map.json", {"eos_token": "<ignored>"})
    described = {"12": {"content": "<b>", "special": True}, "9": {"content": "<a>"}}
    settings = read_settings(tmp_path, {"added_tokens_decoder": described}, {})
    assert settings.added == [(9, AddedToken("<a>", normalized=True)), (12, AddedToken("<b>", special=True))]
    assert settings.named == {}


def test_legacy_files(tmp_path: Path) -> None:
    write_json(tmp_path / "added_tokens.json", {"<b>": 11, "<a>": 10})
    write_json(tmp_path / "special_tokens_map.json", {"eos_token": "<a>"})
    settings = read_settings(tmp_path, {"eos_token": "<old>"}, {})
    assert settings.named == {"eos_token": AddedToken("<a>", special=True)}
    assert settings.added == [(10, AddedToken("<a>", special=True)), (11, AddedToken("<b>", normalized=True))]


@pytest.mark.parametrize(
    ("tokenizer_config", "sentence"),
    [
        ({"tokenizer_class": 7}, "tokenizer_class must be a string, got 7"),
        ({"eos_token": 7}, "eos_token: a token must be a string"),
        ({"added_tokens_decoder": ["<s>"]}, "added_tokens_decoder must map ids to tokens"),
        ({"added_tokens_decoder": {"x": {"content": "<s>"}}}, "added_tokens_decoder must map ids to tokens"),
        ({"added_tokens_decoder": {"1": 3}}, "added_tokens_decoder 1: a token must be"),
        ({"additional_special_tokens": "<s>"}, "must be a list of tokens"),
    ],
)
def test_wrong_types_are_refused(tmp_path: Path, tokenizer_config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        read_settings(tmp_path, tokenizer_config, {})
    assert sentence in str(caught.value) and str(tmp_path / "tokenizer_config.json") in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[1]", "\ud800", '{"<a>": "1"}', '{"<a>": -1}', "[" * 100_000])
def test_damaged_added_tokens_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "added_tokens.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(TokenizerError) as caught:
        read_settings(tmp_path, {}, {})
    assert "added_tokens.json" in str(caught.value) and "\n" not in str(caught.value)


def test_byte_order_marks_are_passed_over(tmp_path: Path) -> None:
    """Editors on Windows write them, and every JSON reader but the strictest ignores them."""
    folder = write_chatml(tmp_path / "model")
    expected = load_tokenizer(folder, read_config(folder, "tokenizer_config.json"), read_config(folder, "config.json"))
    template = read_config(folder, "tokenizer_config.json")["chat_template"]
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8-sig")
    write_json(folder / "special_tokens_map.json", {"eos_token": "<|im_end|>"})
    for file in folder.glob("*.json"):
        file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8-sig")
    (folder / "model.safetensors").write_bytes(good_weights())
    with open_checkpoint(folder) as checkpoint:
        found = load_tokenizer(folder, checkpoint.tokenizer_config, checkpoint.config)
    messages = [{"role": "user", "content": "hello"}]
    assert found.apply_chat_template(messages) == expected.apply_chat_template(messages)
    assert found.render_chat(messages).startswith("<|im_start|>")
