"""Print how long starting takes: the help, the demo's first token from a warm cache, and from an empty one.

Usage: python bench/startup.py [-t THREADS] [--repetitions 5] [--cold 1]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

COMMAND = [sys.executable, "-m", "ftllm_nb"]
FIRST_TOKEN = ["chat", "--temperature", "0", "--max_tokens", "1", "-m", "What is 17 + 25?"]


def main() -> None:
    """Start fresh processes and time them; medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-t", "--threads", type=int, default=2, help="threads (default: 2)")
    parser.add_argument("--repetitions", type=int, default=5, help="warm starts of each kind (default: 5)")
    parser.add_argument("--cold", type=int, default=1, help="starts with an empty cache (default: 1)")
    arguments = parser.parse_args()
    first_token = [*FIRST_TOKEN, "-t", str(arguments.threads)]

    cold = []
    for _ in range(arguments.cold):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(seconds_to_output(first_token, cache))
    with tempfile.TemporaryDirectory() as cache:
        seconds_to_output(first_token, cache)
        warm = [seconds_to_output(first_token, cache) for _ in range(arguments.repetitions)]
        helps = [seconds_to_output(["--help"], cache) for _ in range(arguments.repetitions)]
    show("--help", helps)
    show(f"first token of the demo, kernels cached, {arguments.threads} threads", warm)
    if cold:
        show("first start ever, to the first token", cold)


def seconds_to_output(arguments: list[str], cache: str) -> float:
    """Seconds from starting the process to the first byte that it prints; `cache` is its kernels' folder."""
    environment = {**os.environ, "FTLLM_NB_CACHE_DIR": cache}
    started = time.perf_counter()
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    if not first or process.returncode != 0:
        sys.exit(f"error: {' '.join(arguments)} ended with status {process.returncode} and printed nothing")
    return seconds


def show(what: str, seconds: list[float]) -> None:
    """One line: the median, and the fastest and slowest of how many."""
    print(
        f"{statistics.median(seconds):7.2f} s  {what} "
        f"({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} starts)",
        flush=True,
    )


if __name__ == "__main__":
    main()
