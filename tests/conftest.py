"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Ctrl-C works, for tests and for the processes that they start.

    A shell that starts a job in the background lets it ignore the signal, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
