"""What the model is asked, turn after turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb import llm
from ftllm_nb.cli.talk.conversation import Conversation, Turn
from ftllm_nb.cli.talk.statistics import TurnStatistics
from ftllm_nb.errors import ContextLengthError, EngineError, UsageError
from tests.cli.scripted_chat import ScriptedModel
from tests.puppet import TEMPLATE, write_puppet


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def start(system_text: str | None = None, **settings: Any) -> tuple[Conversation, ScriptedModel]:
    model = ScriptedModel()
    return Conversation(model, system_text, settings), model  # type: ignore[arg-type]


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


def test_settings_reach_the_model_by_their_names_in_python() -> None:
    conversation, _ = start(temperature=0.0, max_tokens=5)
    answer = "".join(conversation.ask("options"))
    assert answer == "[('max_length', 5), ('temperature', 0.0)]"


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    conversation, model = start("\udce4h")
    list(conversation.ask("caf\udce9 ä 你"))
    assert model.queries == [[system("\ufffdh"), user("caf\ufffd ä 你")]]


def test_undo_takes_the_last_turn_back() -> None:
    conversation, model = start("be brief")
    list(conversation.ask("one"))
    list(conversation.ask("two"))
    assert conversation.undo().question == "two"
    assert conversation.messages == [system("be brief"), user("one"), assistant("2 one")]
    list(conversation.ask("three"))
    assert model.queries[-1] == [system("be brief"), user("one"), assistant("2 one"), user("three")]


def test_asking_again_replaces_the_last_answer() -> None:
    conversation, model = start()
    list(conversation.ask("one"))
    list(conversation.ask("two"))
    assert "".join(conversation.ask_again()) == "3 two"
    assert model.queries[-1] == model.queries[-2]
    assert [turn.question for turn in conversation.turns] == ["one", "two"]


def test_asking_again_keeps_the_old_answer_until_there_is_a_new_one() -> None:
    conversation, _ = start()
    list(conversation.ask("one"))
    conversation.turns[-1] = Turn("fail", "the old answer")
    with pytest.raises(EngineError):
        list(conversation.ask_again())
    assert conversation.messages == [user("fail"), assistant("the old answer")]


def test_without_a_turn_there_is_nothing_to_undo_or_to_ask_again() -> None:
    conversation, _ = start()
    with pytest.raises(UsageError, match="no turn"):
        conversation.undo()
    with pytest.raises(UsageError, match="no turn"):
        list(conversation.ask_again())


def test_half_a_character_at_the_end_of_a_cut_answer_is_left_out() -> None:
    conversation, _ = start()
    assert list(conversation.ask("half")) == ["well"]
    assert conversation.turns[-1].answer == "well"


def test_a_replacement_character_that_the_model_wrote_stays() -> None:
    conversation, _ = start()
    assert "".join(conversation.ask("a\ufffd")) == "1 a\ufffd"
    assert conversation.turns[-1].answer == "1 a\ufffd"


def test_statistics_of_a_turn() -> None:
    conversation, _ = start()
    list(conversation.ask("one"))
    list(conversation.ask("two"))
    statistics = conversation.turns[-1].statistics
    assert statistics is not None
    # Tokens are characters: "one", "1 one", "two" are asked, and "3 two" is answered.
    assert (statistics.prompt_tokens, statistics.reused_tokens, statistics.answer_tokens) == (11, 8, 5)
    assert statistics.prefill_tokens_per_second == 3 / 0.5
    assert statistics.context_tokens == conversation.context_tokens() == 16
    assert 0 < statistics.time_to_first_token <= statistics.seconds
    assert TurnStatistics.from_json(json.loads(json.dumps(statistics.as_json()))) is not None
    assert TurnStatistics.from_json({"seconds": 1}) is None
    assert TurnStatistics.from_json({**statistics.as_json(), "seconds": "long"}) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=8), st.integers(1, 90), st.integers(40, 200))
def test_as_few_turns_as_possible_are_dropped(answers: list[int], asked: int, context: int) -> None:
    conversation, model = start()
    model.context = context
    conversation.turns = [Turn("q", "a" * length) for length in answers]
    room = int(context * 0.75)
    sizes = [1 + length for length in answers]
    fitting = [count for count in range(len(answers) + 1) if sum(sizes[count:]) + asked <= room]
    if not fitting and asked <= context:  # alone it has room
        fitting = [len(answers)]
    dropped = conversation.turns_to_drop("x" * asked)
    assert dropped == (fitting[0] if fitting else None)
    if dropped is not None:
        conversation.drop_oldest(dropped)
        assert [len(turn.answer) for turn in conversation.turns] == answers[dropped:]


def test_the_cache_of_the_common_beginning_is_used_after_undo_and_regeneration() -> None:
    """With the bundled model: what the first turn computed is reused by whatever follows it."""
    with llm.model("demo", threads=1) as model:
        conversation = Conversation(model, settings={"temperature": 0.0, "max_tokens": 8})
        list(conversation.ask("My name is Alice."))
        first = conversation.turns[0].statistics
        assert first is not None and first.reused_tokens == 0
        answer = "".join(conversation.ask("What is my name?"))
        second = conversation.turns[1].statistics
        assert second is not None and second.reused_tokens >= first.prompt_tokens
        assert "".join(conversation.ask_again()) == answer
        again = conversation.turns[1].statistics
        assert again is not None and again.reused_tokens == second.prompt_tokens - 1
        conversation.undo()
        assert "".join(conversation.ask("What is my name?")) == answer
        undone = conversation.turns[1].statistics
        assert undone is not None and undone.reused_tokens == second.prompt_tokens - 1


def test_thinking_has_one_form_and_its_own_place_in_the_history(tmp_path: Path) -> None:
    template = TEMPLATE.replace("assistant\n{%", "assistant\n[THINK]\n{%") + "{# m.reasoning_content #}"
    folder = write_puppet(tmp_path / "puppet", "hm, yes[/THINK]Paris.", template, control=["[THINK]", "[/THINK]"])
    with llm.model(str(folder), threads=1) as model:
        conversation = Conversation(model, settings={"temperature": 0})
        assert "".join(conversation.ask("?")) == "<think>\nhm, yes\n</think>\n\nParis."
        assert conversation.messages[1] == {"role": "assistant", "content": "Paris.", "reasoning_content": "hm, yes"}
