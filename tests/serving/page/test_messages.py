from __future__ import annotations

from typing import Any

from ftllm_nb.serving.page.messages import as_markdown, asked_messages, shown_answer, shown_failure, with_parts


def texts(shown: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    return [(message["metadata"].get("title"), message["content"]) for message in shown]


def test_thoughts_stand_before_the_answer() -> None:
    assert texts(shown_answer("  plain ", is_whole=True)) == [(None, "plain ")]
    assert texts(shown_answer("<think>\nhm\n</think>\n\nYes.", is_whole=True)) == [("Thinking", "hm"), (None, "Yes.")]
    assert texts(shown_answer("<think></think>Yes.", is_whole=True)) == [(None, "Yes.")]
    assert texts(shown_answer("not <think>x</think>", is_whole=True)) == [(None, "not <think>x</think>")]
    growing = shown_answer("<think>hm", is_whole=False)
    assert texts(growing) == [("Thinking", "hm")] and growing[0]["metadata"]["status"] == "pending"
    assert shown_answer("<think>hm", is_whole=True)[0]["metadata"]["status"] == "done"
    assert texts(shown_answer("", is_whole=False)) == [(None, "")]


def test_a_failure_is_a_sentence_below_what_there_is() -> None:
    for nothing in ("", " ", "<think>"):
        assert texts(shown_failure(nothing, "a b.")) == [(None, "**No answer:** a b\\.")]
    assert texts(shown_failure("half", "x")) == [(None, "half"), (None, "**The answer ended early:** x")]


def test_the_model_is_asked_with_turns_alone() -> None:
    def user(text: str) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "text", "text": text}], "metadata": None}

    def answer(text: str) -> list[dict[str, Any]]:
        return [with_parts(message) for message in shown_answer(text, is_whole=True)]

    history = [user("lost"), *shown_failure("", "full."), user("1"), *answer("<think>hm</think>one"), user("2")]
    history += [*answer("two"), user("3"), *shown_failure("half", "late."), user("stopped at once"), *answer("")]
    assert [(each["role"], each["content"]) for each in asked_messages(history, "4", "Be brief.")] == [
        ("system", "Be brief."), ("user", "1"), ("assistant", "one"), ("user", "2"), ("assistant", "two"),
        ("user", "3"), ("assistant", "half"), ("user", "4"),
    ]  # fmt: skip
    assert asked_messages([], "4", "  ") == [{"role": "user", "content": "4"}]


def test_a_line_is_no_markdown() -> None:
    assert as_markdown("a *b* <i> é · 1,024.") == r"a \*b\* \<i\> é · 1\,024\."
