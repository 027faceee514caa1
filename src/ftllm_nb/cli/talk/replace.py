"""Files that commands write: one that somebody else wrote is not replaced unasked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.saved import write_text
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


def may_replace(repl: Repl, path: str, unasked: str) -> bool:
    """Whether the file may be written: it is new, no plain file, this session's own, or the user says so.

    `unasked`: the command that does not ask. Raises `UsageError` naming it where there is nobody to ask.
    """
    state = state_of(path)
    if state is None or repl.written.get(os.path.realpath(os.path.expanduser(path))) == state:
        return True
    if repl.ask_yes_no is None:
        raise UsageError(f"{path} exists: {unasked} {path} replaces it.")
    if repl.ask_yes_no(f"{path} exists. Replace it? [y/N]", False):
        return True
    repl.screen.note("nothing was written")
    return False


def write_by_command(repl: Repl, path: str, text: str) -> None:
    """Write the file; this session may replace it as long as nobody else changes it. Raises `UsageError`."""
    write_text(path, text)
    state = state_of(path)
    if state is not None:
        repl.written[os.path.realpath(os.path.expanduser(path))] = state


def state_of(path: str) -> tuple[int, int, int] | None:
    """What changes with a plain file's contents; None for everything else."""
    file = Path(os.path.expanduser(path))
    try:
        found = file.stat()
        return (found.st_ino, found.st_mtime_ns, found.st_size) if file.is_file() else None
    except (OSError, ValueError):
        return None
