"""Speeds of a GGUF file by a llama-bench, that of ik_llama.cpp, as bench/compare.py asks it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ftllm_nb.errors import UsageError

REPACKED = ("-rtr", "1")
"""Weights are laid out for the CPU while they load, as here."""
_LAST_LINES = 3


def speeds(binary: str, gguf: str, threads: int, n_prompt: int, n_gen: int) -> tuple[float, float]:
    """Tokens/s of a prompt and of an answer, one sample of each in a process of its own, after a warm-up.

    Raises `UsageError` for a program that cannot be run, fails, or says neither.
    """
    command = [binary, "-m", gguf, "-t", str(threads), "-p", str(n_prompt), "-n", str(n_gen), "-r", "1", "-o", "json"]
    try:
        done = subprocess.run([*command, *REPACKED], capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise UsageError(f"--ik {binary} cannot be run: {error.strerror or error}.") from None
    if done.returncode != 0:
        last = " ".join(done.stderr.split("\n")[-_LAST_LINES:]).strip()
        raise UsageError(f"--ik {binary} ended with status {done.returncode} for {gguf}: {last or 'it said nothing'}")
    tests = _tests(done.stdout)
    prompt, answer = (
        next((test["avg_ts"] for test in tests if (test["n_prompt"], test["n_gen"]) == sizes), None)
        for sizes in ((n_prompt, 0), (0, n_gen))
    )
    if prompt is None or answer is None:
        raise UsageError(
            f"--ik {binary} says no speed of {n_prompt} tokens of a prompt and of {n_gen} of an answer as JSON: it "
            "must be the llama-bench of ik_llama.cpp."
        )
    return float(prompt), float(answer)


def _tests(output: str) -> list[dict[str, Any]]:
    """What was measured; lines around the list are passed over."""
    start, end = output.find("["), output.rfind("]")
    try:
        found = json.loads(output[start : end + 1])
    except ValueError:
        return []
    needed = {"n_prompt", "n_gen", "avg_ts"}
    return [test for test in found if isinstance(test, dict) and needed <= set(test)]
