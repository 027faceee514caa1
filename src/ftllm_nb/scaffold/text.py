"""Text of a Python file: lines that are not too long."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

CODE_WIDTH = 118
COMMENT_WIDTH = 96
INDENT = "    "
_STEP = re.compile(r"(?<=[\])])(?=\.(?:reshaped|part|rows|transposed)\()")


@dataclass(frozen=True)
class Line:
    """A line of code, or a call: what it begins with, and its `arguments`. `depth`: how far it is indented."""

    text: str
    arguments: tuple[str, ...] | None = None
    depth: int = 0

    def deeper(self) -> Line:
        """Indented once more."""
        return replace(self, depth=self.depth + 1)

    def reads(self, name: str) -> bool:
        """Whether a variable of that name is in the code."""
        code = () if self.text.startswith("#") else (self.text, *(self.arguments or ()))
        return any(re.search(rf"\b{name}\b(?!\")", each) for each in code)

    def written(self) -> list[str]:
        """The lines of the file, as many as it needs."""
        begin = f"{INDENT * self.depth}{self.text}" if self.text else ""
        return [begin] if self.arguments is None else list(call_lines(begin, list(self.arguments)))


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
        if len(line) + len(argument) + 1 > CODE_WIDTH:  # what is done with a weight, on lines of its own
            argument, *steps = _STEP.split(argument)
            for step in steps:
                yield f"{line}{argument}"
                line, argument = " " * len(begin) + INDENT, step
        line += f"{gap}{argument}{end}"
    yield line if arguments else f"{begin})"
