"""Text that `/read` put before the next question, which nobody asked yet."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass

from ftllm_nb.cli.talk.text_file import REPLACEMENT, read_text
from ftllm_nb.errors import UsageError

MOST_FILES = 200


@dataclass(frozen=True)
class Waiting:
    """What one `/read` read. `name`: as the user named it; `notes`: what the user should know of it."""

    name: str
    text: str
    files: int = 1
    notes: tuple[str, ...] = ()


def read_waiting(argument: str) -> Waiting:
    """The file of that name, or each that names and patterns between spaces stand for, under its name. Raises
    `UsageError`."""
    files = files_of(argument)
    if files is None:
        text = read_text(argument).rstrip("\n")
        if not text.strip():
            raise UsageError(f"{argument} holds no text.")
        return Waiting(argument, text, notes=_notes(text))
    if len(files) > MOST_FILES:
        raise UsageError(f"{argument} matches {len(files)} files, more than {MOST_FILES}: choose fewer.")
    texts, left_out = [], []
    for file in files:
        try:
            text = read_text(file).rstrip("\n")
        except UsageError:
            left_out.append(file)
            continue
        if text.strip():
            texts.append(f"{file}:\n\n{text}")
    if not texts:
        raise UsageError(f"no file that {argument} matches holds text.")
    notes = _notes("".join(texts))
    if left_out:
        notes += (f"left out, since they are no text or cannot be read: {', '.join(left_out)}",)
    return Waiting(argument, "\n\n".join(texts), len(texts), notes)


def files_of(argument: str) -> list[str] | None:
    """The files that names and patterns stand for; None where the argument is one name. Raises `UsageError`."""
    if os.path.lexists(os.path.expanduser(argument)):
        return None
    words = argument.split()
    if not any(map(glob.has_magic, words)) and not all(map(os.path.lexists, map(os.path.expanduser, words))):
        return None
    files: dict[str, None] = {}
    for word in words:
        path = os.path.expanduser(word)
        found = [path] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))
        plain = [file for file in found if not os.path.isdir(file)]
        if not plain:
            raise UsageError(f"{word} matches no file.")
        files.update(dict.fromkeys(plain))
    return list(files)


def _notes(text: str) -> tuple[str, ...]:
    wrong = text.count(REPLACEMENT)
    what = "1 byte is" if wrong == 1 else f"{wrong} bytes are"
    return (f"{what} no UTF-8, and {REPLACEMENT} stands there instead",) if wrong else ()


def in_words(waiting: list[Waiting]) -> str:
    """What waits, by its names."""
    return ", ".join(f"{each.name} ({each.files} files)" if each.files > 1 else each.name for each in waiting)
