"""`ftllm-nb` in a world that hinders it: python hindered_run.py HINDRANCE ARGUMENTS…

kill=N        the process is killed, as by `kill -9`, in the middle of its N-th write into a file of weights
slow=SECONDS  each tensor takes so much longer
unread=N      from the N-th on, reads of weights fail as on a damaged disk
full=N        from the N-th on, writes fail as on a full disk
unchecked=0   the disk's room is not looked at before
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from ftllm_nb.checkpoint import mapped_file
from ftllm_nb.cli import main
from ftllm_nb.quantization import partial, run


def failing(file: Any, error: int, method: str) -> Any:
    """The file, but that a method of it fails."""

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            file.close()

    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    hindered = Failing()
    setattr(hindered, method, fail)
    return hindered


def hinder(kind: str, value: str) -> None:
    """Put the hindrance in place."""
    calls, finish, write = count(1), partial.PartialFolder.finish, partial.PartialFolder.write
    open_regular = mapped_file.open_regular

    def killed(self: Any, output: str, offset: int, content: Any) -> None:
        if next(calls) == int(value):
            content = content.reshape(-1)
            write(self, output, offset, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, output, offset, content)

    def slow(self: Any, *arguments: Any) -> None:
        time.sleep(float(value))
        finish(self, *arguments)

    def unread(path: Path) -> Any:
        file = open_regular(path)
        return failing(file, errno.EIO, "readinto") if next(calls) >= int(value) else file

    def full(self: Any, output: str, offset: int, content: Any) -> None:
        if next(calls) == int(value):
            self._files = {name: failing(file, errno.ENOSPC, "write") for name, file in self._files.items()}
        write(self, output, offset, content)

    if kind == "unread":
        mapped_file.open_regular = unread
    elif kind == "slow":
        partial.PartialFolder.finish = slow  # type: ignore[method-assign]
    elif kind == "unchecked":
        run.check_room = lambda *_: None
    else:
        partial.PartialFolder.write = {"kill": killed, "full": full}[kind]  # type: ignore[method-assign]


if __name__ == "__main__":
    hinder(*sys.argv[1].split("="))
    sys.exit(main(sys.argv[2:]))
