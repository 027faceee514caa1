"""The examples of streaming, threads and asyncio, run as a user runs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.forking.programs import program

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(example: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    command = program(str(EXAMPLES / example), *arguments)
    done = subprocess.run(command, capture_output=True, timeout=120, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr


def test_streaming() -> None:
    status, out, err = run("streaming.py")
    first, second = out.splitlines()
    assert status == 0 and "Paris" in first and second.endswith("5")
    assert "tokens read" in err and err.count("\n") == 1


def test_threads() -> None:
    status, out, err = run("threads.py")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "What is 17 + 25? 42" and lines[3] == "What is 40 + 2? 42" and "Paris" in lines[1]


def test_asyncio() -> None:
    status, out, err = run("asyncio_answers.py")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "What is 17 + 25? 42" and lines[2] == "Counting took too long, and was stopped."


@pytest.mark.parametrize("example", ["streaming.py", "threads.py", "asyncio_answers.py"])
def test_a_mistake_is_one_sentence(example: str) -> None:
    status, out, err = run(example, "nowhere")
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and "nowhere" in err and err.count("\n") == 1
