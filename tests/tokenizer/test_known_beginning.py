"""Prompts that begin like the one before have the ids that they have by themselves, in every file format."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.tokenizer import Tokenizer
from ftllm_nb.tokenizer.added_tokens import TokenSpan
from ftllm_nb.tokenizer.known_beginning import KnownBeginning
from tests.tokenizer.folders import FOLDERS, WORDS
from tests.tokenizer.test_tokenizer import open_folder

TEXT = st.lists(st.sampled_from([*WORDS[:6], " ", "  ", "\n", "é", "<", ">", "|", "ab", "\t"]), max_size=6).map("".join)


@pytest.fixture(scope="module", params=list(FOLDERS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokenizer]:
    """Two tokenizers of one folder: one that remembers, and one that is made to forget."""
    folder: Path = FOLDERS[request.param](tmp_path_factory.mktemp("tokenizer"))
    return open_folder(folder), open_folder(folder)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(0, 4), TEXT)
def test_ids_are_those_of_the_prompt_alone(
    pair: tuple[Tokenizer, Tokenizer], texts: list[str], changed: int, other: str
) -> None:
    remembers, forgets = pair
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    regenerated = [*turns[:changed], {"role": ("user", "assistant")[min(changed, len(turns)) % 2], "content": other}]
    for messages in (turns[:1], turns[:3], turns, regenerated, turns):
        forgets._known = KnownBeginning()
        assert remembers.apply_chat_template(messages) == forgets.apply_chat_template(messages)


def test_only_what_is_new_is_encoded() -> None:
    known = KnownBeginning()
    encoded: list[str] = []

    def encode(text: str) -> list[int]:
        encoded.append(text)
        return [ord(character) for character in text]

    def spans(text: str) -> list[TokenSpan]:
        return [TokenSpan(at, at + 1, ord("#")) for at, character in enumerate(text) if character == "#"]

    for text in ("#one#two", "#one#two#three", "#one#other", "none", "#one"):
        assert known.encode(text, spans(text), encode, frozenset({ord("#")})) == [ord(each) for each in text]
    assert encoded == ["#one#two", "#two#three", "#other", "none", "#one"]
