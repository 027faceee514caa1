"""Ctrl-C while an answer is made: stop the answer, not the program."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.conversation import Conversation


@contextmanager
def interrupt_stops(conversation: Conversation, also: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside, the first Ctrl-C stops the running answer, and calls `also`; a second raises KeyboardInterrupt.

    Where the program was started with SIGINT ignored (`nohup`, a shell's background job), it stays ignored.
    """

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        conversation.stop()
        also()

    conversation.stopped = False
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
