"""Where in the user's file an operator was added."""

from __future__ import annotations

import sys

_RECORDING = "ftllm_nb.graph."


_PACKAGE = "ftllm_nb."
_BUILD = "build"


def caller_location() -> tuple[str, int]:
    """File and line of the innermost frame that is not part of this package's recording code.

    The models that come with the package count as a user's files.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_RECORDING):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def build_line() -> int | None:
    """The line of a user's build() from which a function of theirs was called that recorded this; None where build()
    itself did, and in the models that come with the package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_RECORDING):
        frame = frame.f_back
    innermost = found = frame
    while found.f_back is not None and found.f_code.co_name != _BUILD:
        if str(found.f_globals.get("__name__", "")).startswith(_PACKAGE):
            return None
        found = found.f_back
    is_users = not str(found.f_globals.get("__name__", "")).startswith(_PACKAGE)
    return found.f_lineno if found is not innermost and found.f_code.co_name == _BUILD and is_users else None


def called_by(line: int | None) -> str:
    """`called by build() in line 12`; "" where no line is known."""
    return "" if line is None else f"called by build() in line {line}"
