"""What every Python client does: run its steps, all of them, and end with status 1 where one failed."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

BASE_URL = os.environ["CLIENT_BASE_URL"]
"""The server's address with /v1."""
MODEL = os.environ["CLIENT_MODEL"]
"""The name under which the server lists its model."""
FOLDER = os.environ["CLIENT_FOLDER"]
"""The model's folder: tokenizers of clients that count tokens."""
API_KEY = "unused"


def run(*steps: Callable[[], Any]) -> None:
    """Run each step, a function or a coroutine function, and print what failed; never returns."""
    failed = 0
    for step in steps:
        try:
            result = step()
            if inspect.isawaitable(result):
                asyncio.run(_finished(result))
        except Exception:
            failed += 1
            print(f"--- {step.__name__} failed:", file=sys.stderr)
            traceback.print_exc(limit=-4)
        else:
            print(f"{step.__name__}: ok")
    sys.exit(1 if failed else 0)


async def _finished(awaitable: Any) -> None:
    await awaitable
