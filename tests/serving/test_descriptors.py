"""A server without file descriptors left says so once, and takes connections again when there are some."""

from __future__ import annotations

import os
import socket
import time

import httpx
import pytest

from tests.serving.server_process import ServerProcess

resource = pytest.importorskip("resource", reason="limits of a process are POSIX'")


@pytest.mark.slow
def test_no_descriptors_are_one_sentence_and_pass() -> None:
    with ServerProcess("demo", "--kv_cache_limit", "20M") as server:
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        assert limits[0] == limits[1], "as many as may be"
        used = len(os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 8, limits[1]))
        host, port = server.url.removeprefix("http://").split(":")
        connections = [socket.create_connection((host, int(port)), timeout=10) for _ in range(40)]
        deadline = time.monotonic() + 30
        while not any("no more connections" in line for line in server.lines):
            assert time.monotonic() < deadline, server.lines
            time.sleep(0.05)
        time.sleep(2.5)  # asyncio tries again each second
        said = [line for line in server.lines if "connections" in line or "accept" in line or "Traceback" in line]
        assert len(said) == 1 and "ulimit -n" in said[0]
        for connection in connections:
            connection.close()
        assert httpx.get(f"{server.url}/health", timeout=30).status_code == 200
