"""The keyboard while nobody reads it: what is typed meanwhile does not appear, and is kept for the next prompt."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any


@contextmanager
def without_echo(*, as_keys: bool, suspends: bool = False) -> Iterator[None]:
    """Inside, typed characters do not appear between those of an answer; they are kept for the next prompt.

    `as_keys`: they are kept as keys, Ctrl-D and Alt-Enter too, for a prompt that edits by itself; else as lines of the
    system. `suspends`: Ctrl-Z gives the shell its terminal as it was. Only for who comes back to Python often.
    """
    try:
        import termios
    except ImportError:  # not on Windows
        yield
        return
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    quiet = [*before]
    # Ctrl-C alone would throw away what was typed before it, and of the answer what the terminal did not show yet.
    quiet[3] = (quiet[3] & ~termios.ECHO) | termios.NOFLSH
    if as_keys:
        quiet[0] &= ~termios.ICRNL
        quiet[3] &= ~(termios.ICANON | termios.IEXTEN)

    def use(attributes: list[Any]) -> None:
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)

    use(quiet)
    try:
        with suspended(lambda: use(before), lambda: use(quiet)) if suspends else nullcontext():
            yield
    finally:
        use(before)


@contextmanager
def suspended(leave: Callable[[], None], come_back: Callable[[], None]) -> Iterator[None]:
    """Inside, Ctrl-Z calls `leave` before it stops the program, and `come_back` when the program goes on."""

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)
        come_back()

    before = signal.getsignal(signal.SIGTSTP)
    if before is not signal.SIG_DFL:  # who started the program wants no suspension
        yield
        return
    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def discard_typed() -> None:
    """Throw away what was typed and not read yet."""
    with suppress(ImportError, OSError, ValueError):
        import termios

        with suppress(termios.error):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
