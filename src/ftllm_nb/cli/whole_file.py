"""Files that are written whole: a file holds what it held before, or all that is new."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ftllm_nb.terminal_text import without_controls


def write_whole(path: str | os.PathLike[str], content: str | bytes, mode: int) -> None:
    """Write a file beside its place, then rename it; `mode`: of a file that is new. Raises `OSError`, `ValueError`.

    Links are followed. Pipes and devices cannot be replaced: they are written to, a terminal without what steers it.
    """
    data = content.encode("utf-8", errors="replace") if isinstance(content, str) else content
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_file():
            with target.open("wb") as device:
                device.write(without_controls(data.decode(errors="replace")).encode() if device.isatty() else data)
            return
        mode = target.stat().st_mode & 0o777
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
