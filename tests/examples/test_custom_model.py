"""The example of the Python API, run as a user runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.forking.programs import program

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_model.py"


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    done = subprocess.run(program(str(EXAMPLE), *arguments), capture_output=True, timeout=120, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr


def test_without_arguments_the_second_turn_knows_the_first() -> None:
    status, out, err = run()
    assert (status, err) == (0, "")
    first, answer, second, last = out.splitlines()
    assert (first, second) == ("> My name is Alice.", "> What is my name?")
    assert "Alice" in answer and "Alice" in last


def test_path_and_question() -> None:
    assert run("demo", "What is 17 + 25?") == (0, "> What is 17 + 25?\n42\n", "")


def test_a_mistake_is_one_sentence() -> None:
    status, out, err = run("nowhere")
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and "nowhere" in err and err.count("\n") == 1
