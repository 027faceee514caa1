"""A server in a process of its own, as users start it, and what can be asked of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.forking.programs import process_of, program

SECONDS_TO_START = 120
SECONDS_TO_LOG = 30


class ServerProcess:
    """`ftllm-nb server` with these arguments on a free port; ended by `with`. `lines`: its stderr so far.

    `command`: another one, or the whole name of a module.
    """

    def __init__(self, *arguments: str, wait: bool = True, command: str = "server") -> None:
        module = command if "." in command else f"ftllm_nb.{command}"
        self._process = subprocess.Popen(
            program(module, "--port", "0", "-t", "1", *arguments),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._wait_for(r"(http://\S+)/(?:v1)? listens")
        if wait:
            self._wait_for("is ready")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip())

    def _wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match[1] if match.groups() else line
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server does not say {pattern!r}: {self.lines}")

    @property
    def pid(self) -> int:
        return process_of(self._process.pid)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log's lines."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def wait_for_log(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first of the log's lines that fits; a line may come after the answer that it is of."""
        deadline = time.monotonic() + SECONDS_TO_LOG
        while True:
            for line in self.log:
                if fits(line):
                    return line
            assert time.monotonic() < deadline, f"no line fits: {self.lines}"
            time.sleep(0.02)

    def metric(self, name: str) -> float:
        """The sum of a metric's values over its labels."""
        text = httpx.get(f"{self.url}/metrics").text
        found = re.findall(rf"^ftllm_{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        assert found, f"no metric {name}"
        return sum(map(float, found))

    def wait_until_idle(self, seconds: float = 30) -> None:
        """Until nothing runs or waits; then no block may be in use."""
        deadline = time.monotonic() + seconds
        while self.metric("requests_running") or self.metric("requests_waiting"):
            assert time.monotonic() < deadline, "requests go on that nobody waits for"
            time.sleep(0.02)
        assert self.metric("cache_blocks_used") == 0

    def memory_bytes(self) -> int:
        """Resident memory."""
        fields = Path(f"/proc/{self.pid}/status").read_text().split("VmRSS:")[1]
        return int(fields.split()[0]) << 10

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        """The exit status."""
        status = self._process.wait(seconds)
        self._reader.join(5)
        return status

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self._process.kill()
                self.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
