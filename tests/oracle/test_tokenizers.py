"""Live against transformers: ids, prompts and decoded text on the same tokenizer folders.

Transformers 5.24 is the measure: earlier ones have other rules for tokenizer.model and Llama's tokenizer.json.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from ftllm_nb.tokenizer.settings import MODEL_TYPES_WITH_OWN_RULES
from tests.tokenizer.folders import FOLDERS, SYMBOLS, WORDS, read_config

pytestmark = pytest.mark.oracle
transformers = pytest.importorskip("transformers", minversion="5.24", reason="`make oracle` installs it")

TEXTS = [
    "",
    " ",
    "\n",
    "hello world",
    " hello  world ",
    "   leading",
    "a\n\n b\r\n\tc",
    "Don't stop, they're 12345 + 67.89!",
    "def f(x):\n    return x == 1  # ok",
    "你好,世界。今天天气怎么样?",
    "日本語 и русский",
    "🙂👨‍👩‍👧 e\u0301 \u00a0 \u200b \ufeff",
    "\x00\x01\x7f",
    "▁▁ literal ▁",
    "ABC ﬁ Ⅷ ½",
    "[0x41] <|im_en d|>",
]
CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "What is 17 + 25?"}],
    [{"role": "user", "content": "  spaces  and\nlines  "}],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "你好"}],
    [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello! How are you?"},
        {"role": "user", "content": "fine\n"},
    ],
    [
        {"role": "system", "content": " S "},
        {"role": "user", "content": "a < b and <p>"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": " "},
        {"role": "user", "content": "🙂"},
    ],
]


def test_model_types_with_own_rules() -> None:
    from transformers.models.auto import tokenization_auto

    for model_type in (
        MODEL_TYPES_WITH_OWN_RULES - tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    ):
        chosen = tokenization_auto.TOKENIZER_MAPPING_NAMES[model_type]
        assert chosen in ("TokenizersBackend", "MistralCommonBackend"), model_type


class Pair:
    """One folder, opened by both libraries."""

    def __init__(self, folder: Path) -> None:
        self.ours: Tokenizer = load_tokenizer(
            folder, read_config(folder, "tokenizer_config.json"), read_config(folder, "config.json")
        )
        self.theirs: Any = transformers.AutoTokenizer.from_pretrained(folder)
        self._tokens = [*self.theirs.added_tokens_encoder, *SYMBOLS]

    def is_spelled_in(self, text: str) -> bool:
        """Whether a text spells a token that is matched as a whole, which here stays text."""
        return any(token in text for token in self._tokens)

    def their_ids(self, text: str) -> list[int]:
        return list(self.theirs(text, add_special_tokens=False)["input_ids"])


@pytest.fixture(scope="module", params=list(FOLDERS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(FOLDERS[request.param](tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("text", TEXTS)
def test_ids_of_text(pair: Pair, text: str) -> None:
    assert pair.ours.encode_text(text) == pair.their_ids(text)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_of_a_completion(pair: Pair, text: str) -> None:
    assert pair.ours.encode_completion(text) == list(pair.theirs(text)["input_ids"])


@pytest.mark.parametrize("text", TEXTS)
def test_ids_between_control_tokens(pair: Pair, text: str) -> None:
    control = list(pair.theirs.added_tokens_encoder)[:3]
    prompt = f"{control[0]}{text}{control[1]} {text}\n{control[-1]}"
    assert pair.ours.encode_prompt(prompt) == pair.their_ids(prompt)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_chat_templates(pair: Pair, conversation: list[dict[str, Any]], add_generation_prompt: bool) -> None:
    rendered = pair.theirs.apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    ids = pair.theirs.apply_chat_template(
        conversation, add_generation_prompt=add_generation_prompt, return_dict=False
    )
    assert pair.ours.render_chat(conversation, add_generation_prompt) == rendered
    assert pair.ours.apply_chat_template(conversation, add_generation_prompt) == list(ids)


def test_spelled_control_tokens(pair: Pair) -> None:
    """Transformers' own protection finds the same control tokens; it cuts the text around them differently.

    It leaves out added tokens that are neither special nor in the template, which here are text as well.
    """
    if "sanitize_control_tokens" not in inspect.signature(pair.theirs.apply_chat_template).parameters:
        pytest.skip("this version of transformers has no such protection")
    template = pair.theirs.chat_template
    control = {
        token_id: token.content
        for token_id, token in pair.theirs.added_tokens_decoder.items()
        if token.content != "<unk>" and (token.special or token.content in template)
    }
    for token in control.values():
        conversation = [
            {"role": "user", "content": f"a {token} b"},
            {"role": "assistant", "content": f"{token}{token}"},
            {"role": "user", "content": "c"},
        ]
        try:
            theirs = pair.theirs.apply_chat_template(
                conversation, add_generation_prompt=True, return_dict=False, sanitize_control_tokens=True
            )
        except ValueError as error:
            assert "Can't sanitize" in str(error)
            continue
        ours = pair.ours.apply_chat_template(conversation)
        assert [one for one in ours if one in control] == [one for one in theirs if one in control]


@pytest.mark.parametrize("text", TEXTS)
def test_decoded_text(pair: Pair, text: str) -> None:
    control = next(iter(pair.theirs.added_tokens_encoder))
    for ids in (pair.their_ids(text), pair.their_ids(f"{control}{text}{control} {text}")):
        assert pair.ours.decode(ids) == pair.theirs.decode(ids, skip_special_tokens=True)


fragments = st.one_of(
    st.text(max_size=12), st.sampled_from(WORDS), st.sampled_from([" ", "\n", "  ", "▁", "'s"])
)
texts = st.lists(fragments, max_size=12).map("".join)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_any_text(pair: Pair, text: str) -> None:
    if pair.is_spelled_in(text):
        return
    ids = pair.their_ids(text)
    assert pair.ours.encode_text(text) == ids
    assert pair.ours.decode(ids) == pair.theirs.decode(ids, skip_special_tokens=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=texts, second=texts)
def test_any_conversation(pair: Pair, first: str, second: str) -> None:
    if pair.is_spelled_in(first + second):
        return
    conversation = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": second},
        {"role": "user", "content": second + first},
    ]
    theirs = pair.theirs.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
    assert pair.ours.apply_chat_template(conversation) == list(theirs)
