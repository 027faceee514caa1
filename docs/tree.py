"""Prints the tree of the project: each folder and Python file with the first sentence of its docstring.

python docs/tree.py [FOLDER]    FOLDER: only what lies below it, such as src/ftllm_nb/engine
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("src/ftllm_nb", "tests", "examples", "bench", "docs")
COLUMN = 46


def summary(file: Path) -> str:
    """The first line of a module's docstring, else of its first comment; "" where there is neither."""
    source = file.read_text(encoding="utf-8")
    comment = next((line for line in source.splitlines() if line.startswith("# ")), "")
    return (ast.get_docstring(ast.parse(source)) or comment.removeprefix("# ")).partition("\n")[0]


def lines(folder: Path, depth: int = 0) -> Iterator[str]:
    """A line for the folder, then its files, then its folders."""
    package = folder / "__init__.py"
    yield line(folder.name + "/", summary(package) if package.is_file() else "", depth)
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(("__", ".")))
    for file in entries:
        if file.suffix == ".py":
            yield line(file.name, summary(file), depth + 1)
    for inner in entries:
        if inner.is_dir() and any(inner.rglob("*.py")):
            yield from lines(inner, depth + 1)


def line(name: str, phrase: str, depth: int) -> str:
    """A name, indented by its depth, and what is said of it in a column of its own."""
    return f"{'  ' * depth + name:<{COLUMN}} {phrase}".rstrip()


if __name__ == "__main__":
    for named in sys.argv[1:] or FOLDERS:
        print("\n".join(lines(ROOT / named)))
