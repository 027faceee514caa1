"""The bar: drawn on a terminal only, not for short work, and gone afterwards."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from ftllm_nb.cli import progress_bar
from ftllm_nb.cli.progress_bar import BAR_WIDTH, ProgressBar, RateBar, bar_line, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every update is drawn."""
    monkeypatch.setattr(progress_bar, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(progress_bar, "INTERVAL_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_the_bar_fills_and_vanishes() -> None:
    with redirect_stderr(Terminal()) as terminal, ProgressBar() as bar:
        bar.update("loading", 1, 4)
        bar.update("compiling", 4, 4)
    drawings = terminal.getvalue().split("\r\x1b[K")
    assert drawings[0] == drawings[-1] == ""
    assert drawings[1].startswith("loading [#") and drawings[1].endswith(" 25%")
    assert drawings[2] == f"compiling [{'#' * BAR_WIDTH}] 100%"


@pytest.mark.usefixtures("impatient")
def test_bytes_are_shown_with_their_rate_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    with redirect_stderr(Terminal()) as terminal, RateBar("quantize") as bar:
        bar.update("compile", 1, 4)
        now[0] = 1.0
        bar.update("quantize", 100_000_000, 900_000_000)
        now[0] = 3.0
        bar.update("quantize", 300_000_000, 900_000_000)
    compiling, beginning, line, _ = terminal.getvalue().split("\r\x1b[K")[1:]
    assert compiling.endswith("25%") and beginning.endswith("11%")
    assert line.endswith(" 33%  100 MB/s, 6 s left")


@pytest.mark.parametrize("seconds, text", [(0.2, "1 s"), (59, "59 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.usefixtures("impatient")
def test_the_bar_vanishes_when_loading_fails() -> None:
    with redirect_stderr(Terminal()) as terminal, pytest.raises(ValueError), ProgressBar() as bar:
        bar.update("loading", 1, 4)
        raise ValueError
    assert terminal.getvalue().endswith("%\r\x1b[K")


@pytest.mark.usefixtures("impatient")
def test_a_warning_gets_a_line_of_its_own() -> None:
    with redirect_stderr(Terminal()) as terminal, ProgressBar() as bar:
        bar.update("loading", 1, 4)
        bar.warn("Something.")
    assert "%\r\x1b[Kwarning: Something.\n" in terminal.getvalue()


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "PATIENCE_SECONDS", 1000.0)
    with redirect_stderr(Terminal()) as terminal, ProgressBar() as bar:
        bar.update("loading", 1, 4)
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("impatient")
def test_a_file_or_pipe_gets_no_bar() -> None:
    with redirect_stderr(io.StringIO()) as pipe, ProgressBar() as bar:
        bar.update("loading", 1, 4)
        bar.warn("Something.")
    assert pipe.getvalue() == "warning: Something.\n"


@pytest.mark.parametrize("done, total, share", [(0, 0, "0%"), (0, 5, "0%"), (9, 5, "100%"), (-1, 5, "0%")])
def test_odd_counts_are_shown_within_the_bar(done: int, total: int, share: str) -> None:
    assert bar_line("x", done, total, 80).endswith(f" {share}")


@pytest.mark.parametrize("columns", [0, 1, 10, 40])
def test_the_bar_never_wraps(columns: int) -> None:
    assert len(bar_line("compiling kernels", 3, 5, columns)) <= max(columns - 1, 0)
