"""Real clients, in their newest versions, unchanged, against one server: each does what its users do.

`make clients` runs these. They need the internet the first time. On the bundled demo model, or on the folder that
FTLLM_NB_CLIENTS_MODEL names; what is asserted is what the server owes whatever the model: forms, names, reasons.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import ftllm_nb
from tests.clients.environments import installed, programs
from tests.serving.server_process import ServerProcess

pytestmark = pytest.mark.clients
# The server would take it for a misspelt flag.
MODEL = os.environ.pop("FTLLM_NB_CLIENTS_MODEL", "demo")
FOLDER = Path(ftllm_nb.__file__).parent / "demo" if MODEL == "demo" else Path(MODEL).resolve()
SECONDS = 1800


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(MODEL, "--kv_cache_limit", "500M") as server:
        yield server


@pytest.mark.parametrize("name", programs())
def test_client(name: str, server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = installed(name)
    with capsys.disabled():
        print(f"\n{name}: {', '.join(client.versions)}", end=" ", flush=True)
    environment = {
        **os.environ,
        "CLIENT_BASE_URL": f"{server.url}/v1",
        "CLIENT_MODEL": httpx.get(f"{server.url}/v1/models").json()["data"][0]["id"],
        "CLIENT_FOLDER": str(FOLDER),
        "HOME": str(tmp_path),  # settings and caches of the user's own count as little as keys
    }
    done = subprocess.run(
        client.command, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": ok" in done.stdout, "a program that tries nothing"
