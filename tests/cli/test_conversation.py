"""What the model is asked, turn after turn."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.errors import ContextLengthError, EngineError
from tests.cli.scripted_chat import ScriptedModel


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def start(system_text: str | None = None, **options: Any) -> tuple[Conversation, ScriptedModel]:
    model = ScriptedModel()
    return Conversation(model, system_text, options), model  # type: ignore[arg-type]


def test_each_turn_sees_the_earlier_ones() -> None:
    conversation, model = start("be brief")
    assert list(conversation.ask("one")) == ["2 ", "one"]
    assert "".join(conversation.ask("two")) == "4 two"
    assert model.queries[1] == [system("be brief"), user("one"), assistant("2 one"), user("two")]


def test_without_a_system_text_the_template_chooses() -> None:
    conversation, model = start()
    list(conversation.ask("one"))
    assert model.queries == [[user("one")]]


def test_forgetting_keeps_the_system_message_and_frees_the_cache() -> None:
    conversation, model = start("be brief")
    list(conversation.ask("one"))
    conversation.forget()
    assert conversation.messages == [system("be brief")]
    assert model.forgotten == 1


def test_a_stopped_answer_stays_as_far_as_it_went() -> None:
    conversation, model = start()
    pieces = []
    for piece in conversation.ask("count"):
        pieces.append(piece)
        if piece == "3 ":
            conversation.stop()
    assert pieces == ["0 ", "1 ", "2 ", "3 "]
    assert model.stopped
    assert conversation.messages == [user("count"), assistant("0 1 2 3 ")]


def test_a_turn_stopped_before_its_first_word_is_forgotten() -> None:
    conversation, _ = start()
    answer = conversation.ask("count")
    conversation.stop()
    assert list(answer) == []
    assert conversation.messages == []


def test_a_turn_that_fails_leaves_the_conversation_as_it_was() -> None:
    conversation, _ = start()
    list(conversation.ask("one"))
    before = list(conversation.messages)
    with pytest.raises(ContextLengthError):
        list(conversation.ask("x" * 101))
    with pytest.raises(EngineError):
        list(conversation.ask("fail"))
    assert conversation.messages == before


def test_options_reach_the_model() -> None:
    conversation, _ = start(temperature=0.0, max_length=5)
    answer = "".join(conversation.ask("options"))
    assert answer == "[('max_length', 5), ('one_by_one', True), ('temperature', 0.0)]"


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    conversation, model = start("\udce4h")
    list(conversation.ask("caf\udce9 ä 你"))
    assert model.queries == [[system("\ufffdh"), user("caf\ufffd ä 你")]]
