"""A bar on stderr for what takes long: loading a model, compiling its kernels."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from types import TracebackType

from ftllm_nb.terminal_text import one_printable_line, unfiltered, without_controls

PATIENCE_SECONDS = 0.3
"""Work that is done sooner shows no bar."""
INTERVAL_SECONDS = 0.05
"""Time between two drawings of the bar."""
BAR_WIDTH = 30


class ProgressBar:
    """A context manager; `update` and `warn` are callbacks of `llm.model`.

    Draws on stderr where that is a terminal that can erase a line, else nothing, and leaves no trace of the bar.
    """

    def __init__(self) -> None:
        self.visible = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.next_drawing = time.monotonic() + PATIENCE_SECONDS
        self.drawn = False

    def update(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of the stage are done; an unfinished stage has done < total."""
        if self.visible and time.monotonic() >= self.next_drawing:
            self.next_drawing = time.monotonic() + INTERVAL_SECONDS
            self.draw(self.line(stage, done, total, shutil.get_terminal_size().columns))

    def line(self, stage: str, done: int, total: int, columns: int) -> str:
        """What is drawn on a terminal of so many columns."""
        return bar_line(stage, done, total, columns)

    def warn(self, sentence: str) -> None:
        """Say something that the user should know, on a line of its own."""
        self.erase()
        print(f"warning: {one_printable_line(sentence)}", file=sys.stderr, flush=True)

    def erase(self) -> None:
        """Take the bar away, so that something can be printed in its place."""
        if self.drawn:
            self.draw("")
            self.drawn = False

    def draw(self, line: str) -> None:
        """Put the line in place of the one drawn before."""
        print(f"\r\x1b[K{without_controls(line)}", end="", file=unfiltered(sys.stderr), flush=True)
        self.drawn = True

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.erase()


class RateBar(ProgressBar):
    """A bar that shows the time that is left, and for the one stage that counts bytes megabytes a second."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = self.shown = stage
        self.begun: tuple[int, float] | None = None

    def update(self, stage: str, done: int, total: int) -> None:
        """As `ProgressBar.update`; the rate is that since the stage's first update."""
        if self.begun is None or stage != self.shown:
            self.shown, self.begun = stage, (done, time.monotonic())
        super().update(stage, done, total)

    def line(self, stage: str, done: int, total: int, columns: int) -> str:
        """The bar, then the rate once there is one."""
        line = super().line(stage, done, total, columns)
        if stage == self.shown and self.begun is not None and done > self.begun[0]:
            rate = (done - self.begun[0]) / max(time.monotonic() - self.begun[1], 1e-9)
            line += f"  {rate / 1e6:,.0f} MB/s," if stage == self.stage else " "
            line += f" {duration((total - done) / rate)} left"
        return line[: max(columns - 1, 0)]


def duration(seconds: float) -> str:
    """A time as 7 s, 3 min 20 s or 1 h 5 min."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def bar_line(stage: str, done: int, total: int, columns: int) -> str:
    """`stage [#####     ] done/total`, cut so that it fits a line of the terminal."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    filled = round(share * BAR_WIDTH)
    return f"{stage} [{'#' * filled}{' ' * (BAR_WIDTH - filled)}] {share:4.0%}"[: max(columns - 1, 0)]
