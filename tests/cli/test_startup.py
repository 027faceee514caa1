"""Starting is cheap: the parser needs neither Numba nor NumPy, `--help` answers at once, and only what computes imports
Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.timing import least_seconds

HEAVY = (
    "llvmlite",
    "numba",
    "numpy",
    "prompt_toolkit",
    "safetensors",
    "sentencepiece",
    "tokenizers",
    "jinja2",
)


def test_the_parser_imports_nothing_heavy() -> None:
    program = (
        "import sys; from ftllm_nb.cli import build_parser; build_parser();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


OWN = """
from ftllm_nb.extend import ComputeGraph, Kind, Operator, Parameter, per_row


class Twice(Operator):
    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input):
        return input

    @staticmethod
    def reference(step, input):
        return input * 2

    @per_row
    def kernel(input, output):
        output[:] = input * 2
"""


@pytest.mark.parametrize(
    "program",
    [
        "import ftllm_nb.llm",
        "import own",
        "main(['graph', 'demo', '--check'])",
        "main(['graph', 'demo'])",
        "main(['init', 'demo', '-o', 'written.py'])",
    ],
)
def test_only_what_computes_imports_numba(program: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    begin, end = "import sys; sys.path.insert(0, '.'); from ftllm_nb.cli import main", "print('numba' in sys.modules)"
    whole = f"{begin}; {program}; {end}"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("arguments", [["ftllm_nb", "--help"], ["ftllm_nb.chat", "--help"]])
def test_help_takes_at_most_300_ms(arguments: list[str]) -> None:
    def seconds() -> float:
        before = os.times()
        done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("usage: ftllm-nb") and done.stderr == ""
        after = os.times()  # of processors, which others may be using
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert least_seconds(seconds, 0.3) <= 0.3
