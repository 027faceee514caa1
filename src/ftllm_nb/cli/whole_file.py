"""Text files that are written whole: a file holds what it held before, or all of the new text."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | os.PathLike[str], text: str, mode: int) -> None:
    """Write a file beside its place, then rename it; `mode`: of a file that is new. Raises `OSError`, `ValueError`.

    Links are followed. Pipes and devices cannot be replaced: they are written as they are.
    """
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_file():
            target.write_text(text, encoding="utf-8", errors="replace")
            return
        mode = target.stat().st_mode & 0o777
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
