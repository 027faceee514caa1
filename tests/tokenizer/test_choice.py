from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import Tokenizer, choose_tokenizer
from tests.tokenizer.folders import write_chatml, write_headers
from tests.tokenizer.gguf.converted import of_tokenizer_json

TEMPLATE = "{{ messages[0].content }} of the file"
QUESTION = [{"role": "user", "content": "hi"}]


def chosen(path: Path, metadata: dict[str, Any] | None, **options: Any) -> tuple[Tokenizer, list[str]]:
    said: list[str] = []
    tokenizer = choose_tokenizer(path, {}, {}, {}, metadata=metadata, warn=said.append, **options)
    return tokenizer, said


@pytest.fixture
def chatml(tmp_path: Path) -> Path:
    return write_chatml(tmp_path / "chatml")


@pytest.fixture
def metadata(chatml: Path) -> dict[str, Any]:
    return {**of_tokenizer_json(chatml, "qwen2"), "tokenizer.chat_template": TEMPLATE}


def test_a_file_has_its_own(tmp_path: Path, metadata: dict[str, Any]) -> None:
    tokenizer, said = chosen(tmp_path / "m.gguf", metadata)
    assert tokenizer.render_chat(QUESTION) == "hi of the file" and not said
    with pytest.raises(TokenizerError, match=r"m\.gguf: tokenizer\.ggml\.tokens lists .* embedding has 5 rows"):
        chosen(tmp_path / "m.gguf", metadata, embedding_rows=5)


def test_files_beside_it_win(chatml: Path, metadata: dict[str, Any]) -> None:
    tokenizer, said = chosen(chatml / "m.gguf", metadata)
    assert "<|im_start|>" in tokenizer.render_chat(QUESTION) and not said
    (chatml / "tokenizer_config.json").unlink()
    tokenizer, _ = chosen(chatml / "m.gguf", metadata)
    assert tokenizer.render_chat(QUESTION) == "hi of the file"
    (chatml / "tokenizer.json").unlink()
    tokenizer, _ = chosen(chatml / "m.gguf", metadata)
    assert tokenizer.render_chat(QUESTION) == "hi of the file"


def test_files_of_another_model_beside_it_do_not(tmp_path: Path, metadata: dict[str, Any]) -> None:
    other = write_headers(tmp_path / "headers")
    metadata["tokenizer.ggml.tokens"] = [f"{token}!" for token in metadata["tokenizer.ggml.tokens"]]
    metadata["tokenizer.ggml.merges"] = []
    tokenizer, said = chosen(other / "m.gguf", metadata)
    assert tokenizer.id_to_token(0) == metadata["tokenizer.ggml.tokens"][0]
    assert said == [f"{other / 'tokenizer.json'} holds other tokens than m.gguf, whose own tokenizer is used."]


def test_a_named_folder_wins_over_all(tmp_path: Path, chatml: Path, metadata: dict[str, Any]) -> None:
    headers = write_headers(tmp_path / "headers")
    for path, has in ((tmp_path / "m.gguf", metadata), (chatml / "m.gguf", metadata), (chatml, None)):
        tokenizer, said = chosen(path, has, given=headers)
        assert tokenizer.token_to_id("<|begin_of_text|>") is not None and not said
        assert "<|start_header_id|>" in tokenizer.render_chat(QUESTION)


def test_the_models_templates_hold_where_the_named_folder_has_none(
    tmp_path: Path, chatml: Path, metadata: dict[str, Any]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(chatml / "tokenizer.json", bare)
    assert chosen(tmp_path / "m.gguf", metadata, given=bare)[0].render_chat(QUESTION) == "hi of the file"
    (chatml / "chat_template.jinja").write_text("{{ messages[0].content }} of the folder")
    assert chosen(chatml, None, given=bare)[0].render_chat(QUESTION) == "hi of the folder"
    assert chosen(chatml, None, given=bare, chat_template="{{ 1 }}")[0].render_chat(QUESTION) == "1"


def test_a_folder_that_does_not_fit(tmp_path: Path, chatml: Path, metadata: dict[str, Any]) -> None:
    with pytest.raises(TokenizerError, match=r"chatml has \d+ tokens, and the model's embedding 7 rows"):
        chosen(tmp_path / "m.gguf", metadata, given=chatml, embedding_rows=7)
    with pytest.raises(TokenizerError, match="nowhere is no folder"):
        chosen(tmp_path / "m.gguf", metadata, given=tmp_path / "nowhere")
    for nothing in ("", 7):
        with pytest.raises(TokenizerError, match=f"must be a folder's path, not {nothing!r}: leave it out"):
            chosen(chatml, None, given=nothing)
    with pytest.raises(TokenizerError, match="has no tokenizer: looked for"):
        chosen(chatml, None, given=tmp_path)
