"""Each entry of a tokenizer's files that is read, set to something odd: one sentence, or a tokenizer that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.errors import FtllmError
from ftllm_nb.tokenizer import load_tokenizer
from tests.tokenizer.folders import read_config, write_chatml

ODD: tuple[Any, ...] = (None, "text", "", -1, 0, 1, 0.5, 10**40, float("nan"), True, False, [], [1], ["a"], [None],
                        {}, {"a": 1}, {"1": 2}, {"1": {}}, [[]], "\ud800", {"content": 3}, [{"name": "x"}])  # fmt: skip
KEYS = (
    "tokenizer_class", "added_tokens_decoder", "bos_token", "eos_token", "unk_token", "pad_token", "image_token",
    "additional_special_tokens", "extra_special_tokens", "chat_template", "add_bos_token", "add_eos_token", "legacy",
    "add_prefix_space", "auto_map", "model_max_length",
)  # fmt: skip
FLAGS = ("add_bos_token", "add_eos_token", "legacy", "add_prefix_space")
CONFIG_KEYS = ("eos_token_id", "bos_token_id", "model_type", "tokenizer_class", "pre_prompt", "user_role", "bot_role")
INTERNAL = re.compile(r"Error\b|Exception|Traceback|object at 0x|NoneType|unhashable|not subscriptable")


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json", "generation_config.json"])
def test_one_sentence_or_a_tokenizer(tmp_path: Path, file: str) -> None:
    folder = write_chatml(tmp_path / "model")
    configs = {name: read_config(folder, name) for name in ("tokenizer_config.json", "config.json")}
    keys = {"tokenizer_config.json": KEYS, "config.json": CONFIG_KEYS}
    for key in keys.get(file, ("eos_token_id",)):
        for value in ODD:
            changed = {**configs, file: {**configs.get(file, {}), key: value}}
            try:
                tokenizer = load_tokenizer(
                    folder,
                    changed["tokenizer_config.json"],
                    changed["config.json"],
                    changed.get("generation_config.json"),
                )
                ids = tokenizer.apply_chat_template([{"role": "user", "content": "hello"}])
                assert "hello" in tokenizer.decode(ids) or key == "chat_template", (key, value)
                assert key not in FLAGS or value is None or isinstance(value, bool), (key, value)
            except FtllmError as error:
                sentence = re.sub(r"'[^']*'", "", str(error))
                assert not INTERNAL.search(sentence) and "\n" not in sentence, (key, value, str(error))
                assert str(error).endswith("."), (key, value, str(error))
                assert value is not None, (key, str(error))
