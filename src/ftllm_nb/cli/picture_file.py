"""The file that --svg names: looked at before anything is measured, written after the result was printed."""

from __future__ import annotations

import os
from pathlib import Path

from ftllm_nb.cli.whole_file import write_whole
from ftllm_nb.errors import UsageError


def check_picture(path: str) -> None:
    """Raise `UsageError` where no file of that name can be written: the measurements would be made in vain."""
    file = Path(path)
    if file.is_dir():
        raise UsageError(f"the picture {path} cannot be written: it is a folder.")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"the picture {path} cannot be written: there is no folder {file.absolute().parent}.")
    if not os.access(file.resolve().parent if file.is_file() or not file.exists() else file, os.W_OK):
        raise UsageError(f"the picture {path} cannot be written: the system does not allow it.")


def write_picture(path: str, svg: str) -> None:
    """Write it, all or nothing; raises `UsageError`."""
    try:
        write_whole(path, svg, 0o644)
    except OSError as error:
        raise UsageError(f"the picture {path} cannot be written: {error.strerror}.") from None
