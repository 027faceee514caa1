"""`python -m tests.forking.server LISTENER`: forks itself into programs, as clients ask for them; see programs.py.

It ends when its standard input does. A program whose client is gone is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import struct
import sys
import termios
import threading
import traceback
from typing import Any, TextIO

import ftllm_nb


class Program:
    """A fork and who asked for it."""

    def __init__(self, connection: socket.socket, process: int) -> None:
        self.connection = connection
        self.process = process

    def tell_end(self) -> None:
        _, status = os.waitpid(self.process, 0)
        with contextlib.suppress(OSError):
            self.connection.sendall(struct.pack("=i", status))
        self.connection.close()


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork at each request. In a fork: what was asked for, with its streams in place; None at the end."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                request, streams = receive(connection)
                alive, held = os.pipe()  # the end that the fork holds closes with it
                process = os.fork()
                if not process:
                    connection.close()
                    for each in [alive, *selector.get_map()]:
                        if each != 0:
                            os.close(each)
                    take_streams(request, streams)
                    return request
                for number in (held, *streams):
                    os.close(number)
                program = Program(connection, process)
                with contextlib.suppress(OSError):
                    connection.sendall(struct.pack("=i", process))
                selector.register(alive, selectors.EVENT_READ, program)
                selector.register(connection, selectors.EVENT_READ, program)
            elif isinstance(key.data, Program):
                selector.unregister(key.fileobj)
                if key.fileobj is key.data.connection:
                    os.kill(key.data.process, signal.SIGKILL)
                else:
                    os.close(key.fd)
                    if key.data.connection in selector.get_map():
                        selector.unregister(key.data.connection)
                    key.data.tell_end()
            else:
                return None


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, and the streams that came with it."""
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    (size,) = struct.unpack("=I", head)
    return json.loads(connection.recv(size, socket.MSG_WAITALL)), streams


def take_streams(request: dict[str, Any], streams: list[int]) -> None:
    """Put the client's streams, environment, working folder and terminal into the place of one's own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    given = dict(zip(request["streams"], streams, strict=True))
    for number in range(3):
        if number in given:
            os.dup2(given[number], number)
            os.close(given[number])
        else:
            os.close(number)
    if request["has_terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    random.seed()
    sys.stdin = sys.__stdin__ = opened(0, "r", given)  # type: ignore[misc, assignment]
    sys.stdout = sys.__stdout__ = opened(1, "w", given)  # type: ignore[misc, assignment]
    sys.stderr = sys.__stderr__ = opened(2, "w", given)  # type: ignore[misc, assignment]


def opened(number: int, mode: str, given: dict[int, int]) -> TextIO | None:
    """A stream as Python opens it at its start."""
    if number not in given:
        return None
    errors = "backslashreplace" if number == 2 else "strict"
    is_line = number == 2 or (mode == "w" and os.isatty(number))
    return open(number, mode, 1 if is_line else -1, encoding="utf-8", errors=errors, closefd=False)


def import_all() -> None:
    """Import what programs may need: this package, and what others import when they are first used."""
    from ftllm_nb.cli.system_limits import use_one_blas_thread

    use_one_blas_thread()
    for found in pkgutil.walk_packages(ftllm_nb.__path__, "ftllm_nb."):
        if not found.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(found.name)

    import tokenizers  # noqa: F401
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()


def end_of(module: str) -> None:
    """Run a module as a program, and end as Python does, but for the modules, which it would take a second to clear."""
    status: Any = 0
    try:
        if module.endswith(".py"):
            sys.path[0] = os.path.dirname(os.path.abspath(module))
            runpy.run_path(module, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leave:
        status = leave.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:
        status = 120
    os._exit(status)


def main() -> None:
    import_all()
    gc.freeze()  # what was imported is not looked at again, and its memory stays shared
    # Ctrl-C is for the tests, which end this process by its standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        module, *arguments = request["argv"]
        sys.argv = [module, *arguments]
        sys.modules.pop(module, None)  # it runs anew, under the name of a main program
        end_of(module)


if __name__ == "__main__":
    main()
