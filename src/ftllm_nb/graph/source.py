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


def caller_of_function() -> str:
    """`called_by` of the user's build() that called a function of theirs which recorded this; "" where build() itself
    did, and in the models that come with the package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_RECORDING):
        frame = frame.f_back
    innermost = found = frame
    while found.f_back is not None and found.f_code.co_name != _BUILD:
        if str(found.f_globals.get("__name__", "")).startswith(_PACKAGE):
            return ""
        found = found.f_back
    is_users = not str(found.f_globals.get("__name__", "")).startswith(_PACKAGE)
    if found is innermost or found.f_code.co_name != _BUILD or not is_users:
        return ""
    return called_by(found.f_code.co_filename, found.f_lineno, innermost.f_code.co_filename)


def called_by(file: str, line: int, function_file: str) -> str:
    """`called by build() in line 12`, or where the function stands in another file, `called by build() at FILE:12`."""
    return f"called by build() in line {line}" if file == function_file else f"called by build() at {file}:{line}"
