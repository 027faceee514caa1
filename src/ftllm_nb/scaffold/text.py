"""Text of a Python file: lines that are not too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

CODE_WIDTH = 104
"""Of a line of build(), before it is indented."""
COMMENT_WIDTH = 96


def filled(text: str, indent: str = "") -> list[str]:
    """The text on lines that are not too long; the later ones indented."""
    lines, line = [], ""
    for word in text.split():
        if line.strip() and len(line) + 1 + len(word) > COMMENT_WIDTH:
            lines.append(line)
            line = f"{indent}{word}"
        else:
            line = f"{line} {word}" if line.strip() else f"{line}{word}"
    return [*lines, line]


def comment_lines(sentence: str) -> list[str]:
    """A comment."""
    return [f"# {line}" for line in filled(sentence, "  ")]


def todo_lines(sentences: Iterable[str]) -> list[str]:
    """Comments that are to be looked for."""
    return [line for sentence in sentences for line in comment_lines(f"TODO: {sentence}")]


def call_lines(begin: str, arguments: list[str]) -> Iterator[str]:
    """A call on as many lines as it needs, the later ones below its first argument."""
    line = begin
    for place, argument in enumerate(arguments):
        end = ")" if place == len(arguments) - 1 else ","
        gap = "" if line == begin or line.isspace() else " "
        if gap and len(line) + len(gap) + len(argument) + 1 > CODE_WIDTH:
            yield line
            line, gap = " " * len(begin), ""
        line += f"{gap}{argument}{end}"
    yield line if arguments else f"{begin})"
