"""Command lines of programs that begin as forks of a process in which everything is imported.

A start of `python -m MODULE` takes more than a second, most of it imports; such a fork takes a few hundredths. What
it does is the same: streams, terminal, environment, working folder, signals and exit status are those of the command.
Limits of the process (`ulimit`), job control and what Python itself does before a program begins are not: tests of
these start Python.
"""

from __future__ import annotations

import atexit
import functools
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def python(module: str, *arguments: str) -> list[str]:
    """The command line that starts Python for a module."""
    return [sys.executable, "-m", module, *arguments]


def program(module: str, *arguments: str) -> list[str]:
    """The command line that does what `python -m MODULE ARGUMENT …` does, or `python FILE.py ARGUMENT …`."""
    # -S: the command itself needs no installed package, and is there at once.
    return [sys.executable, "-S", str(HERE / "client.py"), _address(), module, *arguments]


def process_of(client: int) -> int:
    """The number of the process that does the work, of one that was started by `program` and has said something: its
    client may write the number a moment later."""
    file, deadline = Path(f"{_address()}.{client}"), time.monotonic() + 10
    while time.monotonic() < deadline and not (file.exists() and file.read_text()):
        time.sleep(0.01)
    return int(file.read_text())


@functools.cache
def _address() -> str:
    """Where this process's server of forks listens. It ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="ftllm_nb_forks.")
    address = f"{folder.name}/socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        number = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forking.server", str(number)],
            stdin=subprocess.PIPE, pass_fds=[number], cwd=HERE.parents[1],
        )  # fmt: skip

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    return address
