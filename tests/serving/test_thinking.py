"""What requests say of thinking, and what earlier thinking becomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.serving.conversation import template_messages
from ftllm_nb.serving.protocol import ChatRequest
from ftllm_nb.serving.thinking_limit import ThinkingLimit, limited
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from tests.puppet import TEMPLATE, write_puppet
from tests.serving.server_process import ServerProcess
from tests.serving.test_answers import ask

SAYS = "one, two, three, four\n</think>\n\n\n{\"city\": \"Paris\"}"
OPENED = "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
OPENS = TEMPLATE.replace("assistant\n", f"assistant\n{OPENED}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thinking") / "puppet"
    return write_puppet(path, SAYS, OPENS, control=["<think>", "</think>"])


@pytest.fixture(scope="module")
def style(folder: Path) -> AnswerStyle:
    return AnswerStyle(tokenizer_of(folder))


def tokenizer_of(folder: Path) -> Tokenizer:
    return load_tokenizer(folder, json.loads((folder / "tokenizer_config.json").read_text()), {})


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with ServerProcess("-p", str(folder), "--kv_cache_limit", "100M") as server:
        yield f"{server.url}/v1/chat/completions"


def test_a_budget_ends_thinking(url: str) -> None:
    thought = ask(url)["message"]["reasoning_content"]
    assert thought == "one, two, three, four"
    for most in (1, 3):
        message = ask(url, thinking_budget=most)["message"]
        assert message["reasoning_content"] == thought[: 3 * most].strip()
        assert message["content"] == '{"city": "Paris"}'


def test_no_thinking(url: str) -> None:
    for no_thinking in (
        {"thinking_budget": 0}, {"enable_thinking": False}, {"reasoning_effort": "none"}, {"thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning": {"enabled": False}},
    ):  # fmt: skip
        assert "reasoning_content" not in ask(url, max_tokens=3, **no_thinking)["message"]


def test_a_format_holds_behind_the_thinking(url: str) -> None:
    message = ask(url, response_format={"type": "json_object"})["message"]
    assert message["reasoning_content"] == "one, two, three, four"
    assert message["content"] == '{"city": "Paris"}'


def test_what_templates_are_told(style: AnswerStyle) -> None:
    def variables(**fields: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": "?"}]
        return ChatRequest.model_validate({"messages": messages, **fields}).template_variables(style)

    assert variables() == {}
    assert variables(reasoning_effort="high") == {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}
    assert variables(reasoning_budget=0) == {"enable_thinking": False, "thinking": False}
    assert variables(thinking_budget=-1) == {}
    assert variables(enable_thinking=True, chat_template_kwargs={"enable_thinking": False, "custom": [1]}) == {
        "enable_thinking": False, "thinking": False, "custom": [1],
    }  # fmt: skip
    for wrong in ({"messages": []}, {"tools": []}):
        with pytest.raises(ValidationError, match="field of the request"):
            variables(chat_template_kwargs=wrong)
    with pytest.raises(ValidationError):
        variables(reasoning_effort="huge")


class Counted:
    """A constraint that allows the ids 5 and 6."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    def allowed(self, left: int) -> NDArray[np.intp]:
        return np.array([5, 6], np.intp)

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)


def test_a_model_may_begin_to_think_before_a_format(style: AnswerStyle, folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    begin, end = tokenizer.added_token_id("<think>"), tokenizer.added_token_id("</think>")
    assert begin is not None and end is not None
    then = Counted()
    limit = ThinkingLimit(style, None, None, then)
    assert limit.allowed(1000) is not None and set(limit.allowed(1000)) == {5, 6, begin}
    limit.accept(begin)
    assert limit.allowed(1000) is None
    limit.accept(end)
    assert set(limit.allowed(1000)) == {5, 6} | style.line_end_ids, "models write an empty line behind their thinking"
    limit.accept(5)
    assert list(limit.allowed(1000)) == [5, 6]
    assert then.accepted == [5]
    assert limited(style, None, None, None) is None


def test_earlier_thinking_has_the_templates_name() -> None:
    history = [{"role": "assistant", "content": "5", "reasoning_content": "hm"}]
    (plain,) = template_messages(history, "{{ message.reasoning_content }}")
    assert plain == {"role": "assistant", "content": "5", "reasoning_content": "hm"}
    (named,) = template_messages([{**history[0], "reasoning_content": None, "reasoning": "hm"}], "{{ m['thinking'] }}")
    assert named == {"role": "assistant", "content": "5", "reasoning_content": "hm", "thinking": "hm"}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (both,) = template_messages(
        [{**history[0], "tool_calls": [call]}], "{{ message.thinking }} Cannot pass both content and thinking in …"
    )
    assert (both["thinking"], both["content"]) == ("hm\n5", "")
