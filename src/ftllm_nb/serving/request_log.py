"""One line of JSON for each request, and for what else happens, on stderr; what was asked and answered only where the
options say so."""

from __future__ import annotations

import json
import sys
import traceback
from datetime import datetime, timezone
from typing import Any

from starlette.types import Scope

from ftllm_nb.errors import FtllmError


def write_line(scope: Scope, status: int, seconds: float) -> None:
    """`scope["notes"]` holds what routes noted; of an exception the traceback is shown below the line, or of one that a
    sentence tells, such as a fault in a user's operator, that sentence."""
    notes: dict[str, Any] = dict(scope["notes"])
    exception = notes.pop("exception", None)
    line = {
        "time": _now(),
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "seconds": round(seconds, 4),
        **notes,
    }
    text = json.dumps(line, default=str)
    if exception is not None and not 400 <= status < 500:  # a stream that fails had begun with 200
        is_told = isinstance(exception, FtllmError)
        text += "\n" + (f"error: {exception}" if is_told else "".join(traceback.format_exception(exception)).rstrip())
    print(text, file=sys.stderr, flush=True)


def write_event(event: str, **details: Any) -> None:
    """A line for what happened without a request."""
    print(json.dumps({"time": _now(), "event": event, **details}), file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
