"""A bar while the model reads a long prompt: who waits for more than a second sees how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ftllm_nb.cli.progress_bar import bar_line

if TYPE_CHECKING:
    from ftllm_nb.engine.generation import GenerationStats

PATIENCE_SECONDS = 1.0
INTERVAL_SECONDS = 0.1


class PrefillBar:
    """A context manager around the wait for an answer's first piece; leaves no trace of the bar.

    `stats` returns those of the answer that began last, `draw` puts a text in place of the current line.
    """

    def __init__(
        self, stats: Callable[[], GenerationStats | None], draw: Callable[[str], None], columns: Callable[[], int]
    ) -> None:
        self._stats = stats
        self._draw = draw
        self._columns = columns
        self._ended = threading.Event()
        self._drawn = False
        self._thread = threading.Thread(target=self._watch, name="ftllm-nb prefill bar", daemon=True)

    def _watch(self) -> None:
        # Statistics of the answer before: this answer has its own as soon as it begins.
        earlier = self._stats()
        started = time.monotonic()
        wait = PATIENCE_SECONDS
        while not self._ended.wait(wait):
            wait = INTERVAL_SECONDS
            stats = self._stats()
            if stats is None or (stats is earlier and stats.answer_tokens):
                continue
            line = bar_line("reading", stats.prefill_tokens, stats.prompt_tokens - stats.reused_tokens, self._columns())
            seconds = f" {time.monotonic() - started:.0f} s"
            self._drawn = True
            self._draw((line + seconds)[: self._columns() - 1])

    def __enter__(self) -> PrefillBar:
        self._thread.start()
        return self

    def end(self) -> None:
        """Take the bar away; may be called again."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            if self._drawn:
                self._draw("")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
