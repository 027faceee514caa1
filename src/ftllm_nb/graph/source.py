"""Where in the user's file an operator was added."""

from __future__ import annotations

import sys

_RECORDING = "ftllm_nb.graph."


def caller_location() -> tuple[str, int]:
    """File and line of the innermost frame that is not part of this package's recording code.

    The models that come with the package count as a user's files.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_RECORDING):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
