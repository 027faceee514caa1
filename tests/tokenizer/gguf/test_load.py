from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from ftllm_nb.tokenizer.formats.sentencepiece_model import _fields
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from tests.tokenizer.folders import (
    read_config,
    sentencepiece_model,
    write_chatml,
    write_headers,
    write_sentencepiece_added,
)
from tests.tokenizer.gguf.converted import of_sentencepiece, of_tokenizer_json
from tests.tokenizer.gguf.golden_vocabularies import NAMES, golden
from tests.tokenizer.gguf.hard_texts import HARD_TEXTS

WHERE = "model.gguf"
CONVERSATION = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "a <|im_end|> b"},
    {"role": "assistant", "content": "fine "},
    {"role": "user", "content": ""},
]


def opened(metadata: dict[str, Any], **options: Any) -> Tokenizer:
    return load_gguf_tokenizer(metadata, WHERE, **options)


def sentence(metadata: dict[str, Any], **options: Any) -> str:
    with pytest.raises(TokenizerError) as caught:
        opened(metadata, **options)
    text = str(caught.value)
    assert text.startswith(WHERE) and text.endswith(".") and "\n" not in text
    return text


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_those_of_the_models_own_tokenizers(name: str) -> None:
    metadata, cases = golden(name)
    tokenizer = opened(metadata)
    assert len(cases) > 40
    for text, ids in cases:
        assert tokenizer.encode_text(text) == ids, text


@pytest.mark.parametrize("name", NAMES)
def test_decoded_ids_are_the_text(name: str) -> None:
    metadata, cases = golden(name)
    tokenizer = opened(metadata)
    spells_spaces = metadata["tokenizer.ggml.model"] != "gpt2"
    for text, ids in cases:
        assert tokenizer.decode(ids) == (text.replace("▁", " ") if spells_spaces else text)


@pytest.mark.parametrize(
    ("name", "other"),
    [("llama-bpe", "qwen2"), ("gpt-2", "starcoder"), ("refact", "gpt-2"), ("falcon", "gpt-2")],
)
def test_another_way_to_cut_makes_other_ids(name: str, other: str) -> None:
    metadata, cases = golden(name)
    tokenizer = opened({**metadata, "tokenizer.ggml.pre": other})
    assert any(tokenizer.encode_text(text) != ids for text, ids in cases)


def folder_tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder, read_config(folder, "tokenizer_config.json"), read_config(folder, "config.json"))


@pytest.mark.parametrize(("write", "pre"), [(write_chatml, "qwen2"), (write_headers, "llama-bpe")])
def test_a_converted_tokenizer_json_is_what_it_was(write: Any, pre: str, tmp_path: Path) -> None:
    folder = folder_tokenizer(write(tmp_path))
    ours = opened(of_tokenizer_json(tmp_path, pre))
    for text in HARD_TEXTS:
        assert ours.encode_text(text) == folder.encode_text(text), text
        assert ours.encode_completion(text) == folder.encode_completion(text)
        assert ours.decode(ours.encode_text(text)) == folder.decode(folder.encode_text(text))
    assert ours.apply_chat_template(CONVERSATION) == folder.apply_chat_template(CONVERSATION)
    assert ours.render_chat(CONVERSATION) == folder.render_chat(CONVERSATION)
    assert ours.special_ids == folder.special_ids
    assert (ours.bos_token_id, ours.eos_token_id) == (folder.bos_token_id, folder.eos_token_id)
    assert ours.eos_token_ids >= folder.eos_token_ids
    assert ours.vocab_size == folder.vocab_size


def test_control_tokens_do_not_come_out_of_text(tmp_path: Path) -> None:
    write_chatml(tmp_path)
    ours = opened(of_tokenizer_json(tmp_path, "qwen2"))
    end = ours.token_to_id("<|im_end|>")
    assert end in ours.encode_prompt("a <|im_end|> b")
    assert end not in ours.encode_text("a <|im_end|> b")


def test_a_prompt_has_one_beginning_whoever_writes_it() -> None:
    metadata, _ = golden("llama-bpe")
    begin, messages = metadata["tokenizer.ggml.bos_token_id"], [{"role": "user", "content": "hello"}]
    text = opened(metadata).encode_text("hello")
    for template in ("{{ messages[0].content }}", "{{ bos_token }}{{ messages[0].content }}"):
        with_template = {**metadata, "tokenizer.chat_template": template}
        assert opened(with_template).apply_chat_template(messages) == [begin, *text]
        without = opened({**with_template, "tokenizer.ggml.add_bos_token": False})
        assert without.apply_chat_template(messages) == ([begin] if "bos_token" in template else []) + text
        given = opened(metadata, chat_template=template)
        assert given.apply_chat_template(messages) == ([begin] if "bos_token" in template else []) + text


def test_user_defined_tokens_are_spelled_as_text() -> None:
    metadata, _ = golden("deepseek-llm")
    token_id = metadata["tokenizer.ggml.tokens"].index("À")  # also the character of a byte
    kinds = metadata["tokenizer.ggml.token_type"].copy()
    kinds[token_id] = 4
    tokenizer = opened({**metadata, "tokenizer.ggml.token_type": kinds})
    assert tokenizer.encode_text("À") == [token_id]
    assert tokenizer.decode([token_id]) == "À" and tokenizer.token_bytes(token_id) == "À".encode()


def test_templates_have_names() -> None:
    metadata, _ = golden("command-r")
    tool_use = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}{{ messages[0].content }}?"
    named = {
        "tokenizer.chat_template": "{{ messages[0].content }}!",
        "tokenizer.chat_templates": ["tool_use", "rag"],
        "tokenizer.chat_template.tool_use": tool_use,
        "tokenizer.chat_template.rag": "rag",
    }
    tokenizer = opened({**metadata, **named})
    messages = [{"role": "user", "content": "hi"}]
    assert tokenizer.render_chat(messages) == "hi!"
    with_tools = tokenizer.render_chat(messages, tools=[{"type": "function", "function": {"name": "f"}}])
    assert '"name": "f"' in with_tools and with_tools.endswith("hi?")
    assert opened({**metadata, **named}, chat_template="{{ 'mine' }}").render_chat(messages) == "mine"
    assert not opened(metadata).has_chat_format


def test_a_wrong_template_names_its_key() -> None:
    metadata, _ = golden("gpt-2")
    tokenizer = opened({**metadata, "tokenizer.chat_template": "{{ broken"})
    with pytest.raises(TokenizerError, match=r"^model\.gguf, tokenizer\.chat_template: .* syntax error in line 1"):
        tokenizer.render_chat([{"role": "user", "content": "hi"}])


def test_the_beginning_of_a_text_is_the_files_or_its_familys() -> None:
    llama, _ = golden("llama-bpe")
    begin = llama["tokenizer.ggml.bos_token_id"]
    assert opened(llama).encode_completion("")[:1] == [begin]
    assert opened({**llama, "tokenizer.ggml.add_bos_token": False}).encode_completion("") == []
    gpt2, _ = golden("gpt-2")
    assert opened(gpt2).encode_completion("") == []
    assert opened({**gpt2, "tokenizer.ggml.add_bos_token": True}).encode_completion("") == [
        gpt2["tokenizer.ggml.bos_token_id"]
    ]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentencepiece_gives_the_same_ids(kind: str) -> None:
    model = sentencepiece_model(kind)
    library = sentencepiece.SentencePieceProcessor(model_proto=model)
    ours = opened(of_sentencepiece(model, "llama" if kind == "bpe" else "t5"))
    for text in HARD_TEXTS:
        assert ours.encode_text(text) == library.EncodeAsIds(text), text
        assert ours.decode(ours.encode_text(text)) == library.DecodeIds(library.EncodeAsIds(text))
    assert ours.encode_completion("a")[-1] == library.EncodeAsIds("a")[-1]


def test_sentencepiece_without_a_space_before_the_text() -> None:
    model = sentencepiece_model("bpe")
    no_prefix = sentencepiece.SentencePieceProcessor(model_proto=model + b"\x1a\x02\x18\x00")
    ours = opened(of_sentencepiece(model, add_space_prefix=False))
    assert ours.encode_text("hello") == no_prefix.EncodeAsIds("hello")
    assert ours.encode_text("hello") != opened(of_sentencepiece(model)).encode_text("hello")
    assert ours.decode(ours.encode_text(" hello")) == " hello"


def test_a_space_goes_before_each_part_between_control_tokens(tmp_path: Path) -> None:
    write_sentencepiece_added(tmp_path)
    metadata = of_sentencepiece((tmp_path / "tokenizer.model").read_bytes())
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    tokens += ["<|im_start|>", "<tool>", "  "]
    count = len(tokens)
    metadata["tokenizer.ggml.token_type"] = np.append(kinds, [3, 4, 4])
    metadata["tokenizer.ggml.scores"] = np.append(metadata["tokenizer.ggml.scores"], [-1000.0, -1000.0, -1000.0])
    ours = opened(metadata)
    hello = ours.encode_text("hello")
    assert ours.encode_prompt("<|im_start|>hello<tool>hello") == [count - 3, *hello, count - 2, *hello]
    assert ours.encode_text("hello  hello") == [*hello, count - 1, *hello]
    assert ours.decode([count - 3, *hello, count - 2, *hello]) == "hello<tool> hello"


def with_user_defined(*contents: str) -> dict[str, Any]:
    metadata = of_sentencepiece(sentencepiece_model("bpe"))
    metadata["tokenizer.ggml.tokens"] += contents
    for key, value in (("token_type", 4), ("scores", -1000.0)):
        name = f"tokenizer.ggml.{key}"
        metadata[name] = np.append(metadata[name], [value] * len(contents))
    return metadata


def test_tags_of_html_are_ordinary_tokens_and_those_of_programs_are_not() -> None:
    tokenizer = opened(with_user_defined("<table>", "</h1>", "<tool_call>"))
    table, heading, call = (tokenizer.token_to_id(text) for text in ("<table>", "</h1>", "<tool_call>"))
    assert {table, heading} <= set(tokenizer.encode_text("<table> a</h1>"))
    assert call not in tokenizer.encode_text("a <tool_call>") and call in tokenizer.encode_prompt("a <tool_call>")


def test_a_text_full_of_spelled_control_tokens() -> None:
    tokenizer = opened(with_user_defined("<tool_call>", *(f"<unused{number}>" for number in range(3000))))
    text = "<tool_call>x<unused7>" * 1500
    begin = time.process_time()
    ids = tokenizer.encode_text(text)
    assert time.process_time() - begin < 5
    assert tokenizer.decode(ids) == text
    assert max(ids) < sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model("bpe")).GetPieceSize()


def test_normalization_comes_with_the_file() -> None:
    model = sentencepiece_model("unigram", rule="nmt_nfkc")
    normalizer = dict(_fields(dict(_fields(model))[3]))
    charsmap = np.frombuffer(normalizer[2], np.uint8)
    ours = opened(of_sentencepiece(model, "t5", precompiled_charsmap=charsmap, remove_extra_whitespaces=True))
    library = sentencepiece.SentencePieceProcessor(model_proto=model + b"\x1a\x02\x20\x01")
    for text in (*HARD_TEXTS, "ﬁ  Ⅷ   ①"):
        assert ours.encode_text(text) == library.EncodeAsIds(text), text
    assert ours.encode_text("ﬁ") == ours.encode_text("fi ")
