"""The filter before terminals: everywhere on a terminal, nowhere else."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

from ftllm_nb.cli import main
from ftllm_nb.cli.progress_bar import ProgressBar
from ftllm_nb.cli.whole_file import write_whole
from ftllm_nb.loading import warn_on_stderr
from ftllm_nb.terminal_text import guard_terminals, one_printable_line, unfiltered

STEERING = "a\x1b[2J\x1b]0;owned\x07\x9b1m\x7f\b\tb\r\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def guarded() -> Iterator[tuple[Terminal, Terminal]]:
    """stdout and stderr, which are terminals inside."""
    out, err = Terminal(), Terminal()
    with redirect_stdout(out), redirect_stderr(err):
        guard_terminals()
        guard_terminals()
        yield out, err


def test_what_is_printed_on_a_terminal_does_not_steer_it() -> None:
    with guarded() as (out, err):
        print(STEERING, end="")
        sys.stdout.writelines([STEERING])
        print(STEERING, end="", file=sys.stderr)
        assert unfiltered(sys.stdout) is out and unfiltered(out) is out
    assert out.getvalue() == 2 * "a[2J]0;owned1m\tb\n"
    assert err.getvalue() == "a[2J]0;owned1m\tb\r\n"  # libraries' bars return to the line's beginning


def test_pipes_get_every_byte() -> None:
    with redirect_stdout(io.StringIO()) as out:
        guard_terminals()
        print(STEERING, end="")
    assert out.getvalue() == STEERING


def test_warnings_stay_on_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    warn_on_stderr("a\x1b[2J\nerror: b")
    ProgressBar().warn("a\x1b[2J\nerror: b")
    assert capsys.readouterr().err == 2 * "warning: a\\x1b[2J error: b\n"
    assert one_printable_line("你\u202e") == "你\\u202e"


def test_the_bar_draws_and_its_text_does_not() -> None:
    with guarded() as (_, err):
        ProgressBar().draw("a\x1b[2J")
    assert err.getvalue() == "\r\x1b[Ka[2J"


def test_names_of_models_are_text(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x--\x1b[2Jy" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    with guarded() as (out, _):
        assert main(["list", "--cache_dir", str(tmp_path)]) == 0
    assert "x/[2Jy" in out.getvalue() and "\x1b" not in out.getvalue()


def test_a_terminal_that_is_written_to_as_a_file() -> None:
    ours, theirs = pty.openpty()
    try:
        write_whole(os.ttyname(theirs), STEERING, 0o600)
        os.set_blocking(ours, False)
        seen = b""
        with suppress(OSError):
            seen = os.read(ours, 4096)
        assert seen.rstrip() == b"a[2J]0;owned1m\tb"
    finally:
        os.close(ours)
        os.close(theirs)
