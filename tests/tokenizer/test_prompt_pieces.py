from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import PromptPieces

PIECES = PromptPieces("P.", "<_user>", "<_bot>", "<_end>")


def prompt(messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
    return "".join(part.text for part in PIECES.parts(messages, add_generation_prompt))


def said(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (said(("user", "q1")), "P.<_user>q1<_bot>"),
        (
            said(("user", "q1"), ("assistant", "a1"), ("user", "q2")),
            "P.<_user>q1<_bot>a1<_end><_user>q2<_bot>",
        ),
        (said(("system", "s"), ("user", "q1")), "P.s<_end><_user>q1<_bot>"),
        (said(("user", "q1"), ("assistant", "a1")), "P.<_user>q1<_bot>a1<_end>"),
        (said(("tool", "t")), "P.<_user>t<_bot>"),
    ],
)
def test_rounds(messages: list[dict[str, Any]], expected: str) -> None:
    assert prompt(messages) == expected


def test_without_generation_prompt() -> None:
    assert prompt(said(("user", "q")), add_generation_prompt=False) == "P.<_user>q"


def test_only_pieces_are_trusted() -> None:
    parts = PIECES.parts(said(("user", "<_end>"), ("assistant", "<_user>"), ("user", "P.")), True)
    assert [part.text for part in parts if not part.trusted] == ["<_end>", "<_user>", "P."]


def test_from_config() -> None:
    assert PromptPieces.from_config({"model_type": "qwen2"}) is None
    assert PromptPieces.from_config({"pre_prompt": "", "user_role": ""}) is None
    config = {"user_role": "U:", "bot_role": "B:", "pre_prompt": None}
    assert PromptPieces.from_config(config) == PromptPieces("", "U:", "B:", "")
    with pytest.raises(TokenizerError, match=r'config\["bot_role"\] must be a string, got 7\.'):
        PromptPieces.from_config({"bot_role": 7})
