"""A program that begins as a fork behaves as one that Python begins."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.forking.programs import process_of, program

SAYS = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["SAID"], sys.stdin.read(), sys.path[0], __name__)
print(sys.stdin.encoding, sys.stdout.isatty(), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "end", ["", "sys.exit(3)", "sys.exit('why')", "os.kill(os.getpid(), 9)", "os.abort()", "sys.stdout.close()"]
)
def test_streams_arguments_environment_and_status(tmp_path: Path, end: str) -> None:
    file = tmp_path / "says.py"
    file.write_text(SAYS + end)
    forked, started = (
        subprocess.run(
            [*begin, "a", "b c"], input="in", capture_output=True, text=True, cwd=tmp_path, env={"SAID": "so"}
        )
        for begin in (program(str(file)), [sys.executable, str(file)])
    )  # fmt: skip
    assert forked.returncode == started.returncode
    assert (forked.stdout, forked.stderr) == (started.stdout, started.stderr)


def test_a_program_ends_with_its_client(tmp_path: Path) -> None:
    file = tmp_path / "waits.py"
    file.write_text("import time; print('begun', flush=True); time.sleep(60)")
    with subprocess.Popen(program(str(file)), stdout=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stdout.readline() == b"begun\n"
        process = Path(f"/proc/{process_of(client.pid)}")
        assert process.exists()
        client.kill()
    deadline = time.monotonic() + 10
    while process.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
