"""Print what a busy neighbour costs: decode alone, and beside a process that does nothing but compute.

Usage: python bench/neighbour.py [--config CONFIG.json] [--dtype int4g32] [-t 2] [-n 32] [-r 5]

The neighbour runs where the system puts it ("free"), or on the first core alone ("core 0"). All three take turns;
speeds are medians over rounds, and "×" is against the speed alone. A fair share of two cores beside one neighbour is
0.75.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from one_sentence import one_sentence

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.benchmark.speed_test import time_steps
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.loading import describe, open_executor

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
PROMPT_TOKENS = 16
"""In the cache before decode is timed."""
SETTLE_SECONDS = 0.3
"""For the system to find places for all threads."""
NEIGHBOURS = {"alone": None, "free": "pass", "core 0": "import os; os.sched_setaffinity(0, {0})"}
"""What a neighbour does before it computes; None: there is none."""


def main() -> None:
    """Take turns, then print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-0.5B's)")
    parser.add_argument("--dtype", default="int4g32", help="weight format (default: int4g32)")
    parser.add_argument("-t", "--threads", type=whole_number(1), nargs="+", default=[2], help="default: 2")
    parser.add_argument("-n", "--n_gen", type=whole_number(1), default=32,
                        help="tokens generated in a turn (default: 32)")  # fmt: skip
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=5, help="rounds (default: 5)")
    arguments = parser.parse_args()
    settings = Settings(random_config=arguments.config, random=True, options=EngineOptions(dtype=arguments.dtype))
    print("| threads | neighbour | tokens/s | × |\n| ------: | :-------- | -------: | --: |")
    for threads in arguments.threads:
        with open_weights(settings) as checkpoint:
            graph = describe(checkpoint)
            executor = open_executor(graph, checkpoint, WeightTypes(arguments.dtype), threads=threads)
        decode_rate(executor, arguments.n_gen)
        rates: dict[str, list[float]] = {name: [] for name in NEIGHBOURS}
        for _ in range(arguments.repetitions):
            for name, preparation in NEIGHBOURS.items():
                with busy_process(preparation):
                    rates[name].append(decode_rate(executor, arguments.n_gen))
        executor.close()
        alone = statistics.median(rates["alone"])
        for name, seen in rates.items():
            rate = statistics.median(seen)
            print(f"| {threads} | {name} | {rate:.1f} | {rate / alone:.2f} |", flush=True)


def decode_rate(executor: Executor, tokens: int) -> float:
    """Tokens a second of a decode after a short prompt."""
    ids = np.random.default_rng(0).integers(0, executor.vocab_size, PROMPT_TOKENS + tokens, np.int32)
    sequence = executor.cache.new_sequence()
    try:
        time_steps(executor, [sequence], ids[:PROMPT_TOKENS], executor.max_step_tokens)
        return tokens / time_steps(executor, [sequence], ids[PROMPT_TOKENS:], 1)
    finally:
        executor.cache.free(sequence)


@contextmanager
def busy_process(preparation: str | None) -> Iterator[None]:
    """A process that computes on one core meanwhile."""
    if preparation is None:
        time.sleep(SETTLE_SECONDS)
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", f"{preparation}\nwhile True: pass"])
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with one_sentence():
        main()
