"""Write texts to judge and to calibrate models with, from documentation that comes with Python and its packages.

Usage: python bench/texts.py OUT    makes OUT/test.txt and OUT/calibration.txt, some hundred thousand words each

Test: the language reference and other topics that `help()` knows (the module pydoc_data.topics). Calibration: what the
packages of this Python say of themselves (their descriptions on the package index, NumPy's and Numba's docstrings). No
paragraph of one is in the other. Both are English prose with code in between; licences are left out.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import pydoc_data.topics
from collections.abc import Iterator
from pathlib import Path

DOCUMENTED = ("numpy", "numba")
"""Packages whose docstrings are read; the engine needs both."""
SHORTEST_DOCSTRING = 400
SHORTEST_PARAGRAPH = 40
"""Characters below which the same paragraph twice says nothing."""


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write into")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    (out / "test.txt").write_text(test_text(), encoding="utf-8")
    (out / "calibration.txt").write_text(calibration_text(), encoding="utf-8")


def test_text() -> str:
    """Text that nothing is fitted to."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return "\n\n".join(_shuffled(topic.strip() for topic in topics.values()))


def calibration_text() -> str:
    """Text to calibrate with."""
    seen = set(_paragraphs(test_text()))
    texts = []
    for text in (*_descriptions(), *_docstrings()):
        kept = [part for part in text.split("\n\n") if part.strip() not in seen and not _is_licence(part)]
        seen.update(_paragraphs(text))
        texts.append("\n\n".join(kept).strip())
    return "\n\n".join(_shuffled(text for text in texts if len(text) >= SHORTEST_DOCSTRING))


def _paragraphs(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split("\n\n") if len(part) >= SHORTEST_PARAGRAPH)


def _is_licence(paragraph: str) -> bool:
    return any(word in paragraph.lower() for word in ("license", "licence", "copyright", "warranty"))


def _descriptions() -> Iterator[str]:
    """The long descriptions of the installed distributions, by name."""
    found = {each.metadata["Name"]: each.metadata.get_payload() for each in importlib.metadata.distributions()}
    return (text for _, text in sorted(found.items()) if isinstance(text, str))


def _docstrings() -> Iterator[str]:
    """The longer docstrings of packages' files, in the files' order."""
    for package in DOCUMENTED:
        specification = importlib.util.find_spec(package)
        assert specification is not None and specification.origin is not None
        for file in sorted(Path(specification.origin).parent.rglob("*.py")):
            if "tests" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    text = ast.get_docstring(node)
                    if text is not None and len(text) >= SHORTEST_DOCSTRING:
                        yield inspect.cleandoc(text)


def _shuffled(texts: Iterator[str]) -> list[str]:
    """In an order that has nothing to do with what they are about, and is always the same."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())


if __name__ == "__main__":
    main()
