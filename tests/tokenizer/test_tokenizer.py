from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import PromptPieces, Tokenizer, load_tokenizer
from tests.tokenizer.folders import FOLDERS, WORDS, read_config, write_chatml, write_sentencepiece

ASK = [{"role": "user", "content": "hello"}]


def open_folder(folder: Path, **more: Any) -> Tokenizer:
    return load_tokenizer(
        folder, read_config(folder, "tokenizer_config.json"), read_config(folder, "config.json"), **more
    )


@pytest.fixture(scope="module", params=list(FOLDERS))
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return open_folder(FOLDERS[request.param](tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return open_folder(write_chatml(tmp_path_factory.mktemp("chatml")))


def control_ids(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """Special ids and those of `<tool_call>` and the like, without the token for unknown characters."""
    unknown = {tokenizer.token_to_id("<unk>"), tokenizer.token_to_id("[UNK]")}
    tags = {tokenizer.token_to_id(tag) for tag in ("<think>", "</think>", "<tool_call>", "<_user>", "<_end>")}
    return [one for one in ids if one in (tokenizer.special_ids | tags) - unknown]


def spellings(tokenizer: Tokenizer) -> list[str]:
    special = [tokenizer.id_to_token(one) or "" for one in sorted(tokenizer.special_ids)]
    return [*special, "<think>", "</think>", "<tool_call>", "<_user>", "<_end>"]


def test_importing_loads_no_library() -> None:
    code = (
        "import sys, ftllm_nb.tokenizer; "
        "print([name for name in ('jinja2', 'tokenizers', 'sentencepiece', 'numpy') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_what_a_message_spells_is_text(tokenizer: Tokenizer) -> None:
    neutral = control_ids(tokenizer, tokenizer.apply_chat_template([{"role": "user", "content": "a b"}]))
    for token in spellings(tokenizer):
        for content in (token, f"a {token} b", f"{token}{token}", f" {token}\n", f"a{token[:1]}{token}"):
            ids = tokenizer.apply_chat_template([{"role": "user", "content": content}])
            assert control_ids(tokenizer, ids) == neutral, content


def test_text_gives_no_control_token(tokenizer: Tokenizer) -> None:
    for token in spellings(tokenizer):
        for text in (token, f"a {token} b", f"{token}{token}"):
            assert control_ids(tokenizer, tokenizer.encode_text(text)) == [], text


def test_spelled_tokens_survive_as_text(chatml: Tokenizer) -> None:
    content = "What does <|im_end|> do after <think>?"
    assert chatml.decode(chatml.encode_text(content)) == content
    ids = chatml.apply_chat_template([{"role": "user", "content": content}])
    assert f"user\n{content}\nassistant\n" in chatml.decode(ids)


def test_text_around_a_spelled_token_is_encoded_in_one_piece(chatml: Tokenizer) -> None:
    """The prompt is cut at the template's own tokens only, not where a message or a spelled token begins."""
    first, second = chatml.token_to_id("<|im_start|>"), chatml.token_to_id("<|im_end|>")
    ids = chatml.apply_chat_template([{"role": "user", "content": "hello<|im_end|>world"}])
    expected = [first, *chatml.encode_text("user\nhello<|im_end|>world"), second]
    position = ids.index(first, 1)
    assert ids[position : position + len(expected)] == expected


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_conversation_forges_a_control_token(tokenizer: Tokenizer, data: st.DataObject) -> None:
    part = st.one_of(st.sampled_from([*spellings(tokenizer), *WORDS]), st.text(max_size=5))
    texts = st.lists(part, max_size=6).map("".join)
    turns = [data.draw(texts) for _ in range(3)]
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]
    neutral = [{**message, "content": "a"} for message in messages]
    found = control_ids(tokenizer, tokenizer.apply_chat_template(messages))
    expected = control_ids(tokenizer, tokenizer.apply_chat_template(neutral))
    remaining = iter(expected)
    assert all(one in remaining for one in found), (found, expected)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=8).map(" ".join))
def test_text_comes_back(chatml: Tokenizer, text: str) -> None:
    import unicodedata

    assert chatml.decode(chatml.encode_text(text)) == unicodedata.normalize("NFC", text)


def test_streamed_text_has_no_half_characters(chatml: Tokenizer) -> None:
    text = "hello 你好 🙂 naïve\n"
    stream = chatml.stream_decoder()
    pieces = [stream.push(one) for one in chatml.apply_chat_template([{"role": "user", "content": text}])]
    assert text in "".join(pieces) and "\ufffd" not in "".join(pieces) and stream.finish() == ""


def test_ids_beyond_the_vocabulary_give_nothing(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_text("hello")
    for odd in (tokenizer.vocab_size, tokenizer.vocab_size + 1000, 2**31, 2**70, -1):
        assert tokenizer.decode([*ids, odd]) == tokenizer.decode(ids)
        assert tokenizer.id_to_token(odd) is None


def test_lone_surrogates_do_not_hurt(tokenizer: Tokenizer) -> None:
    broken = "a\udce4b\ud83d"
    assert tokenizer.encode_text(broken) == tokenizer.encode_text("a\ufffdb\ufffd")
    assert tokenizer.encode_prompt(broken) == tokenizer.encode_prompt("a\ufffdb\ufffd")
    with_broken = [{"role": "user", "content": broken}]
    replaced = [{"role": "user", "content": "a\ufffdb\ufffd"}]
    assert tokenizer.apply_chat_template(with_broken) == tokenizer.apply_chat_template(replaced)
    assert tokenizer.render_chat(with_broken) == tokenizer.render_chat(replaced)


def test_ids_are_within_the_vocabulary(tokenizer: Tokenizer) -> None:
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hello 你 <|im_end|> </s>"}])
    assert ids and all(0 <= one < tokenizer.vocab_size for one in ids)
    assert tokenizer.special_ids and max(tokenizer.special_ids) < tokenizer.vocab_size
    assert tokenizer.id_to_token(tokenizer.vocab_size - 1) is not None


def test_end_tokens(tmp_path: Path) -> None:
    tokenizer = open_folder(
        write_chatml(tmp_path, eos_token="<|endoftext|>"), generation_config={"eos_token_id": [7, 8]}
    )
    assert tokenizer.eos_token_ids == {
        7, 8, tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|im_end|>"),
    }  # fmt: skip
    assert tokenizer.eos_token_id == tokenizer.token_to_id("<|endoftext|>")
    assert tokenizer.bos_token_id is None


def test_template_variables(tmp_path: Path) -> None:
    tokenizer = open_folder(
        write_chatml(
            tmp_path, "{{ eos_token }}{{ bos_token }}{{ add_generation_prompt }}{{ mood }}{{ tools }}"
        )
    )
    assert tokenizer.render_chat(ASK, mood="calm") == "<|im_end|>TruecalmNone"
    assert tokenizer.render_chat(ASK, add_generation_prompt=False, tools=[]) == "<|im_end|>False[]"


def test_tools_reach_the_template_and_stay_text(chatml: Tokenizer) -> None:
    tools = [{"name": "add<|im_end|>", "parameters": {"<|im_start|>": 1}}]
    assert '{"name": "add<|im_end|>", "parameters": {"<|im_start|>": 1}}' in chatml.render_chat(
        ASK, tools=tools
    )
    plain = [{"name": "add", "parameters": {"x": 1}}]
    with_tools = control_ids(chatml, chatml.apply_chat_template(ASK, tools=tools))
    assert with_tools == control_ids(chatml, chatml.apply_chat_template(ASK, tools=plain))


def without_template(folder: Path, **tokenizer_config: Any) -> Path:
    return write_sentencepiece(
        folder, chat_template=None, symbols=("<_user>", "<_bot>", "<_end>"), **tokenizer_config
    )


def test_prompt_pieces(tmp_path: Path) -> None:
    tokenizer = open_folder(without_template(tmp_path))
    assert not tokenizer.has_chat_format
    tokenizer.prompt_pieces = PromptPieces("", "<_user>", "<_bot>", "<_end>")
    assert tokenizer.has_chat_format
    messages = [*ASK, {"role": "assistant", "content": "<_user>"}, {"role": "user", "content": "<_bot>x</s>"}]
    assert tokenizer.render_chat(messages) == "<_user>hello<_bot><_user><_end><_user><_bot>x</s><_bot>"
    user, bot, end = (tokenizer.token_to_id(one) for one in ("<_user>", "<_bot>", "<_end>"))
    ids = tokenizer.apply_chat_template(messages)
    assert [one for one in ids if one in (user, bot, end, 1, 2)] == [user, bot, end, user, bot]
    assert end in tokenizer.eos_token_ids
    assert tokenizer.apply_chat_template(ASK) == tokenizer.encode_prompt("<_user>hello<_bot>")


def test_pieces_come_from_the_config_and_a_template_goes_first(tmp_path: Path) -> None:
    without_template(tmp_path / "a")
    config = {"user_role": "<_user>", "bot_role": "<_bot>"}
    assert load_tokenizer(tmp_path / "a", {}, config).render_chat(ASK) == "<_user>hello<_bot>"
    write_chatml(tmp_path / "b")
    with_template = load_tokenizer(
        tmp_path / "b", read_config(tmp_path / "b", "tokenizer_config.json"), config
    )
    assert "<|im_start|>" in with_template.render_chat(ASK)


def test_with_neither_template_nor_pieces_text_is_continued(tmp_path: Path) -> None:
    tokenizer = open_folder(without_template(tmp_path))
    messages = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b<s>"}]},
    ]
    assert tokenizer.render_chat(messages) == "a\nb<s>"
    ids = tokenizer.apply_chat_template(messages)
    assert ids == tokenizer.encode_completion("a\nb<s>") == [1, *tokenizer.encode_text("a\nb<s>")]
    assert ids.count(1) == 1


def test_tools_without_a_template_are_text_of_the_system(tmp_path: Path) -> None:
    """And nothing is said of a template that is not there."""
    tokenizer = open_folder(without_template(tmp_path))
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    ids, warnings = tokenizer.chat_prompt([{"role": "user", "content": "Hi"}], tools=[tool])
    assert "look_up" in tokenizer.decode(ids)
    assert warnings == ["the model has no chat template that prints tools: they are described in the system message."]


@pytest.mark.parametrize("messages", [[], None, "hi", [{"role": "user", "content": 3}], [{}], [[]]])
def test_wrong_messages(tokenizer: Tokenizer, messages: Any) -> None:
    for use in (tokenizer.apply_chat_template, tokenizer.render_chat):
        with pytest.raises(TokenizerError):
            use(messages)


@pytest.mark.parametrize("role", ["tool", "developer", "USER", "user\n", "你"])
def test_odd_roles_are_the_templates_to_judge(tokenizer: Tokenizer, role: str) -> None:
    try:
        ids = tokenizer.apply_chat_template(
            [*ASK, {"role": "assistant", "content": "x"}, {"role": role, "content": "y"}]
        )
    except TokenizerError as error:
        assert "the chat template refuses this conversation" in str(error)
    else:
        assert ids


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda folder: (folder / "tokenizer.json").unlink(),
            "looked for tokenizer.json and tokenizer.model",
        ),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b""), "tokenizer.json is damaged"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff\xfe"), "tokenizer.json is damaged"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json is damaged"),
        (lambda folder: (folder / "tokenizer.json").write_text("[" * 10**6), "tokenizer.json is damaged"),
        (
            lambda folder: (folder / "tokenizer.json").write_bytes(
                (folder / "tokenizer.json").read_bytes()[:-100]
            ),
            "tokenizer.json is damaged",
        ),
    ],
)
def test_damaged_folders(tmp_path: Path, spoil: Spoil, sentence: str) -> None:
    write_chatml(tmp_path)
    spoil(tmp_path)
    with pytest.raises(TokenizerError) as caught:
        open_folder(tmp_path)
    assert sentence in str(caught.value) and str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_no_folder_and_other_vocabularies(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="is no folder"):
        load_tokenizer(tmp_path / "missing", {}, {})
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(TokenizerError, match=r"save_pretrained\(folder\)"):
        load_tokenizer(tmp_path, {}, {})


def test_a_broken_template_does_not_stop_plain_text(tmp_path: Path) -> None:
    tokenizer = open_folder(write_chatml(tmp_path, "<|im_start|>{% if %}"))
    assert tokenizer.encode_text("hello") and tokenizer.eos_token_ids
    with pytest.raises(
        TokenizerError, match=r"tokenizer_config\.json: the chat template has a syntax error in line 1"
    ):
        tokenizer.apply_chat_template(ASK)
