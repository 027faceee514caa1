"""Starting is cheap: the parser needs neither Numba nor NumPy, and `--help` answers at once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

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


@pytest.mark.parametrize("arguments", [["ftllm_nb", "--help"], ["ftllm_nb.chat", "--help"]])
def test_help_takes_at_most_300_ms(arguments: list[str]) -> None:
    fastest = float("inf")
    for _ in range(10):  # a busy machine may delay any one of them
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=True)
        fastest = min(fastest, time.perf_counter() - started)
        assert done.stdout.startswith("usage: ftllm-nb") and done.stderr == ""
        if fastest <= 0.3:
            return
    raise AssertionError(f"the fastest of ten took {fastest:.2f} s")
