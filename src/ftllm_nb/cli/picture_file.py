"""The file that --plot names: looked at before anything is measured, written after the result was printed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ftllm_nb.benchmark.picture import FORMS
from ftllm_nb.cli.whole_file import write_whole
from ftllm_nb.errors import UsageError


def add_picture_flags(group: argparse._ArgumentGroup, help: str) -> None:
    """Declare --plot FILE, and --svg, which it was called while pictures had no other form; both set `plot`."""
    endings = ", ".join(f".{form}" for form in FORMS)
    forms = f"in the form of FILE's ending: {endings}; needs the extra [pictures]"
    group.add_argument("--plot", metavar="FILE", help=f"{help}; {forms}")
    group.add_argument("--svg", dest="plot", metavar="FILE", help=f"{help}; the same as --plot")


def picture_form(path: str) -> str:
    """The form that the file's name asks for, one of `FORMS`: svg where it has no ending.

    Raises `UsageError` where no such picture can be drawn or written: the measurements would be made in vain.
    """
    file = Path(path)
    form = file.suffix.lower().removeprefix(".") or "svg"
    if file.is_dir():
        raise UsageError(f"the picture {path} cannot be written: it is a folder.")
    if form not in FORMS:
        raise UsageError(f"the picture {path} cannot be drawn: its name must end in .{', .'.join(FORMS)}.")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"the picture {path} cannot be written: there is no folder {file.absolute().parent}.")
    if not os.access(file.resolve().parent if file.is_file() or not file.exists() else file, os.W_OK):
        raise UsageError(f"the picture {path} cannot be written: the system does not allow it.")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"pictures need the package {error.name or 'matplotlib'}: install it with pip install 'ftllm-nb[pictures]'."
        ) from error
    return form


def write_picture(path: str, picture: bytes) -> None:
    """Write it, all or nothing; raises `UsageError`."""
    try:
        write_whole(path, picture, 0o644)
    except OSError as error:
        raise UsageError(f"the picture {path} cannot be written: {error.strerror}.") from None
