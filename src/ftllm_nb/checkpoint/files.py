"""Opening a file of a model folder, with a sentence for each way in which it can fail."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ftllm_nb.errors import CheckpointError

LFS_POINTER = b"version https://git-lfs"
"""What a git-lfs pointer begins with."""


def shown(value: object, limit: int = 80) -> str:
    """Something that came out of a file, short and free of control characters: a text quoted, all else as JSON."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr, skipkeys=True)
    text = "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def file_mode(path: Path) -> int | None:
    """The mode bits of what `path` leads to, None where there is nothing.

    Raises CheckpointError where the system does not say, as in a loop of links.
    """
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise CheckpointError(f"{shown(str(path))} holds a character that no path may hold.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}.") from None


def reason(error: OSError) -> str:
    """The operating system's words for an error."""
    return error.strerror or "the system gives no reason"


def list_folder(folder: Path) -> list[str]:
    """The sorted names in a folder."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be listed: {reason(error)}.") from None


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; pipes and devices are refused, since reading them may never end.

    Raises CheckpointError for a missing file, anything but a regular file, an empty file, a git-lfs pointer.
    """
    mode = file_mode(path)
    if mode is None:
        raise CheckpointError(f"{path} is missing: download the model again.")
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is not a regular file: expected a plain file or a link to one.")
    try:
        file = open(path, "rb")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}.") from None
    try:
        start = file.read(len(LFS_POINTER))
        file.seek(0)
    except OSError as error:
        file.close()
        raise CheckpointError(f"{path} cannot be read: {reason(error)}.") from None
    if start == LFS_POINTER:
        file.close()
        raise CheckpointError(
            f"{path} is a git-lfs pointer and not the file itself: run `git lfs pull` in {path.parent}."
        )
    if not start:
        file.close()
        raise CheckpointError(f"{path} is empty: download the file again.")
    return file
