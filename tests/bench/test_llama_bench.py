"""What bench/compare.py reads of ik_llama.cpp's llama-bench."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.llama_bench import speeds
from ftllm_nb.errors import UsageError

TESTS = [{"n_prompt": 512, "n_gen": 0, "avg_ts": 123.5}, {"n_prompt": 0, "n_gen": 64, "avg_ts": 20.25}]


def program(folder: Path, body: str) -> str:
    """A program that keeps what it is called with."""
    path = folder / "llama-bench"
    keep = f"open({str(folder / 'called')!r}, 'w').write(' '.join(sys.argv[1:]))"
    path.write_text(f"#!{sys.executable}\nimport sys\n{keep}\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_speeds_of_a_file(tmp_path: Path) -> None:
    noisy = f"print('[1/2] warm-up'.replace('[', '('), {json.dumps(TESTS)!r})"
    assert speeds(program(tmp_path, noisy), "m.gguf", 2, 512, 64) == (123.5, 20.25)
    assert (tmp_path / "called").read_text() == "-m m.gguf -t 2 -p 512 -n 64 -r 1 -o json -rtr 1"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("print('no list')", "says no speed of 512 tokens"),
        (f"print({json.dumps(TESTS[:1])!r})", "says no speed of 512 tokens"),
        ("sys.exit('error: unknown argument -rtr')", "ended with status 1 for m.gguf: error: unknown argument -rtr"),
    ],
)
def test_a_program_that_says_none(body: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        speeds(program(tmp_path, body), "m.gguf", 2, 512, 64)


def test_no_program(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be run: No such file"):
        speeds(str(tmp_path / "none"), "m.gguf", 2, 512, 64)
