"""Light Markdown: what is recognized, that no character is lost, and that the pieces do not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.cli.talk.markdown import BOLD, BOLD_ITALIC, CODE, CODE_BLOCK, HEADING, ITALIC, PLAIN, MarkdownStream

TEXTS = st.lists(
    st.sampled_from(["*", "**", "***", "`", "```", "~~~", "#", "# ", "## ", " ", "   ", "\n", "a", "b1", "你", "."]),
    max_size=40,
).map("".join)


def styled(pieces: list[str]) -> list[tuple[str, str]]:
    """Each character with its style."""
    stream = MarkdownStream()
    parts = [part for piece in pieces for part in stream.feed(piece)] + stream.finish()
    return [(style, character) for style, text in parts for character in text]


def joined(text: str) -> list[tuple[str, str]]:
    """Runs of one style."""
    runs: list[tuple[str, str]] = []
    for style, character in styled([text]):
        if runs and runs[-1][0] == style:
            character = runs.pop()[1] + character
        runs.append((style, character))
    return runs


@given(TEXTS)
def test_no_character_is_lost_or_moved(text: str) -> None:
    assert "".join(character for _, character in styled([text])) == text


@given(TEXTS, st.lists(st.integers(0, 60), max_size=6))
def test_pieces_do_not_matter(text: str, cuts: list[int]) -> None:
    ends = sorted(cut for cut in cuts if cut <= len(text))
    pieces = [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert styled(pieces) == styled([text])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("plain text\n", [(PLAIN, "plain text\n")]),
        ("# Title\nx", [(HEADING, "# Title\n"), (PLAIN, "x")]),
        ("#hashtag", [(PLAIN, "#hashtag")]),
        ("####### seven", [(PLAIN, "####### seven")]),
        ("a `b*c*` d", [(PLAIN, "a "), (CODE, "`b*c*`"), (PLAIN, " d")]),
        ("``a`b`` c", [(CODE, "``a`b``"), (PLAIN, " c")]),
        ("**bold** *italic* ***both***", [
            (BOLD, "**bold**"), (PLAIN, " "), (ITALIC, "*italic*"), (PLAIN, " "), (BOLD_ITALIC, "***both***")]),
        ("这是**重点**内容", [(PLAIN, "这是"), (BOLD, "**重点**"), (PLAIN, "内容")]),
        ("2 * 3 ** 4 and 2*3*4, 2**3", [(PLAIN, "2 * 3 ** 4 and 2*3*4, 2**3")]),
        ("* item\n* item", [(PLAIN, "* item\n* item")]),
        ("**never closed\nnext", [(BOLD, "**never closed\n"), (PLAIN, "next")]),
        ("```py\n# **x**\n``\n```\nout", [(CODE_BLOCK, "```py\n# **x**\n``\n```\n"), (PLAIN, "out")]),
        ("````\n```\nin\n````\nout", [(CODE_BLOCK, "````\n```\nin\n````\n"), (PLAIN, "out")]),
        ("```\n```not the end\n```", [(CODE_BLOCK, "```\n```not the end\n```")]),
        ("~~~\n```\n~~~\nout", [(CODE_BLOCK, "~~~\n```\n~~~\n"), (PLAIN, "out")]),
        ("  ```\nx\n  ```\nout", [(CODE_BLOCK, "  ```\nx\n  ```\n"), (PLAIN, "out")]),
    ],
)  # fmt: skip
def test_what_is_recognized(text: str, expected: list[tuple[str, str]]) -> None:
    assert joined(text) == expected


def test_plain_text_is_not_held_back() -> None:
    stream = MarkdownStream()
    assert stream.feed("word") == [(PLAIN, "word")]
    assert stream.feed(" and") == [(PLAIN, " and")]
