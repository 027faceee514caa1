"""What a user of the scripts in bench/ can get wrong: one sentence and exit status 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forking.programs import program

BENCH = Path(__file__).parents[2] / "bench"


def run(script: str, *arguments: str, tier: str = "") -> subprocess.CompletedProcess[str]:
    path = str(BENCH / script)
    # The tier is chosen when the kernels are imported.
    command = [sys.executable, path, *arguments] if tier else program(path, *arguments)
    environment = {**os.environ, "FTLLM_NB_TIER": tier} if tier else None
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("kernels.py", ("--config", "none.json"), 'there is no file "none.json"'),
        ("kernels.py", ("--config", str(BENCH / "kernels.py")), "is not valid JSON"),
        ("kernels.py", ("--dtype", "int5"), "int5"),
        ("steps.py", ("--dtype", "int5"), "int5"),
        ("scaling.py", ("--config", "none.json"), 'there is no file "none.json"'),
        ("scaling.py", ("--dtype", "int5"), "int5"),
        ("simulate_scaling.py", ("--config", "none.json"), 'there is no file "none.json"'),
        ("fidelity.py", ("--dtype", "int5"), "int5"),
        ("compare.py", ("--gguf", "none.gguf"), "none.gguf"),
        ("shapes.py", (str(BENCH / "configs" / "qwen3-0.6b.json"), "none.json"), 'there is no file "none.json"'),
        ("shapes.py", ("--dtype", "int5"), "int5"),
        ("conversation.py", ("--config", "none.json", "--layers", "2"), 'there is no file "none.json"'),
        ("conversation.py", ("--edit", "21"), "--edit 21 is no turn of 20"),
        ("conversation.py", ("-p", "demo", "--turns", "900"), "choose fewer --turns"),
    ],
)
def test_a_mistake_is_one_sentence(script: str, arguments: tuple[str, ...], says: str) -> None:
    done = run(script, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr


@pytest.mark.parametrize("script", ["kernels.py", "limits.py", "assembly.py"])
def test_an_unknown_tier_is_one_sentence(script: str) -> None:
    done = run(script, tier="sse9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: FTLLM_NB_TIER=sse9: there is no such tier") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_table_of_kernels() -> None:
    done = run("kernels.py", "--dtype", "int8", "--tokens", "1", "-t", "1")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| int8 |")]
    assert len(rows) == 4 and "| 896 × 9728 | 1 |" in done.stdout and "GB/s" in rows[0]


def test_a_conversation() -> None:
    """Each turn computes what is new; an edit goes on from what both have in common."""
    sizes = ("--turns", "3", "--question", "20", "--answer", "4", "--edit", "2")
    done = run("conversation.py", "-p", "demo", "-t", "1", *sizes)
    assert done.returncode == 0, done.stderr
    cells = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert [[int(cell) for cell in row] for row in cells] == [[1, 0, 20], [2, 24, 21], [3, 48, 21]]
    assert "Turn 2 of 3 edited, 24 tokens before it: 20 tokens computed in" in done.stdout
