"""`python client.py ADDRESS MODULE ARGUMENT …`: stands for a program that the server of forks runs; see programs.py.

It passes on its streams, environment and working folder, then the signals that it gets, and ends as the program ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import sys
import termios
from types import FrameType

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def give_up_terminal() -> bool:
    """Whether this process had a terminal of its own, which the program then has."""
    if os.getsid(0) != os.getpid():
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return False
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the kernel sends to who gives it up
    fcntl.ioctl(terminal, termios.TIOCNOTTY)
    os.close(terminal)
    return True


def main() -> None:
    address, *argv = sys.argv[1:]
    streams = [number for number in range(3) if is_open(number)]
    # Its number may be that of a stream that is closed.
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {
        "argv": argv, "streams": streams, "environment": dict(os.environ), "folder": os.getcwd(),
        "has_terminal": give_up_terminal(),
    }  # fmt: skip
    body = json.dumps(request).encode()
    socket.send_fds(connection, [struct.pack("=I", len(body))], streams)
    connection.sendall(body)
    (process,) = struct.unpack("=i", connection.recv(4, socket.MSG_WAITALL))

    # For who asks for the number of the program's process.
    with open(f"{address}.{os.getpid()}", "w") as file:
        file.write(str(process))

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(process, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    (status,) = struct.unpack("=i", connection.recv(4, socket.MSG_WAITALL))
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
