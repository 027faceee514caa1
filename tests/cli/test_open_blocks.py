"""What closes a text that was cut: each expected value was checked with markdown-it, a CommonMark parser."""

from __future__ import annotations

import pytest

from ftllm_nb.cli.talk.conversation import Conversation, Turn
from ftllm_nb.cli.talk.open_blocks import closed, closing_line
from ftllm_nb.cli.talk.saved import as_markdown
from tests.cli.scripted_chat import ScriptedModel


@pytest.mark.parametrize(
    "text, closing",
    [
        ("a\n```python\nx = 1", "```"),
        ("a\n```python\nx = 1\n```\nend", None),
        ("~~~~\n```\n~~~", "~~~~"),
        ("````\n```\n", "````"),
        ("  ```\nx", "  ```"),
        ("```html\n<!--", "```"),
        ("1. step\n   ```sh\n   ls", "   ```"),  # without its indent, it would begin a block after the list
        ("- a\n  ```\n  x\nplain", None),  # the item is over, and its block with it
        ("- a\n\n  ```\n  x\n\n  ```\n", None),
        ("1. a\n\n```\nx", "```"),
        ("text\n\n    ```\n", None),
        ("> ```\n> x", None),
        ("``` a`b\nx", None),
        ("<!-- hid", "-->"),
        ("<!-- a --> b", None),
        ("<PRE>\nx\n\n", "</pre>"),
        ("<script>\n</script>\n", None),
        ("", None),
    ],
)
def test_what_closes_a_text(text: str, closing: str | None) -> None:
    assert closing_line(text) == closing


def test_a_closed_text_keeps_what_it_was() -> None:
    assert closed("```\nx") == "```\nx\n```" and closed("```\n") == "```\n```" and closed("x\n") == "x\n"


def test_an_answer_that_was_cut_leaves_the_rest_of_an_export_as_it_is() -> None:
    conversation = Conversation(ScriptedModel(), "~~~ never closed")  # type: ignore[arg-type]
    conversation.turns = [Turn("Look:\n<!-- a comment", "```python\nx = 1"), Turn("more", "fine")]
    lines = as_markdown(conversation, "demo").splitlines()
    for before, after in (("~~~ never closed", "~~~"), ("<!-- a comment", "-->"), ("x = 1", "```")):
        assert lines[lines.index(before) + 1] == after
