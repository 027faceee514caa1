"""Print how prefill and decode of a random model scale with threads, beside the machine's own limits.

Usage: python bench/scaling.py [--config CONFIG.json] [--dtype int4g32] [-t 1 2 4 …] [-p 512] [-n 64] [-r 5]

Each number of threads has a turn in each round: prefills that are not timed, since cores that were idle begin slowly, a
prefill, a decode, and the machine's limits with as many threads. Speeds and limits are medians over rounds, and "×" is
against the first number of threads in the list. A limit's own × says what the machine allows: read bandwidth for
decode; int8 dot products, or float32 multiply-adds where the weights are floats, for prefill.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from one_sentence import one_sentence

from ftllm_nb.benchmark.limits import measure_limits
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.benchmark.speed_test import time_steps
from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.host_cores import default_threads
from ftllm_nb.loading import describe, open_executor

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
PAUSE_SECONDS = 0.1
"""Between two turns: threads of the one that is done spin for a moment before they sleep."""
PROMPT_TOKENS = 16
"""In the cache before decode is timed."""
WARM_UP_SECONDS = 1.0
"""Of prefills before one is timed."""
LIMIT_SECONDS = 0.3
"""Of each limit's measurement in a turn."""


class Turn(NamedTuple):
    """What some threads reached: tokens/s, and the limit beside it, GOP/s or GFLOP/s for prefill, GB/s for decode."""

    prefill: float
    peak: float
    decode: float
    read: float


def main() -> None:
    """Take turns, then print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-0.5B's)")
    parser.add_argument("--dtype", default="int4g32", help="weight format (default: int4g32)")
    parser.add_argument("-t", "--threads", type=whole_number(1), nargs="+", default=None,
                        help="default: 1, 2, 4, … all cores")  # fmt: skip
    parser.add_argument("-p", "--n_prompt", type=whole_number(1), default=512,
                        help="tokens of the prompt (default: 512)")  # fmt: skip
    parser.add_argument("-n", "--n_gen", type=whole_number(1), default=64, help="tokens generated (default: 64)")
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=5, help="rounds (default: 5)")
    arguments = parser.parse_args()
    counts = arguments.threads or powers_of_two(default_threads())
    settings = Settings(random_config=arguments.config, random=True, options=EngineOptions(dtype=arguments.dtype))
    types = WeightTypes(arguments.dtype)
    executors: dict[int, Executor] = {}
    with open_weights(settings) as checkpoint:
        graph = describe(checkpoint)
        for threads in counts:
            executors[threads] = open_executor(graph, checkpoint, types, threads=threads)
    size = size_of(graph, types)
    turns: dict[int, list[Turn]] = {threads: [] for threads in counts}
    for _ in range(arguments.repetitions):
        for threads, executor in executors.items():
            time.sleep(PAUSE_SECONDS)
            prefill, decode = run(executor, arguments.n_prompt, arguments.n_gen)
            limits = measure_limits(threads, size.weight_bytes, seconds=LIMIT_SECONDS, repetitions=1)
            peak = (limits.dot_gop_per_s if size.multiplies_integers else None) or limits.fma_gflop_per_s
            turns[threads].append(
                Turn(arguments.n_prompt / prefill, peak, arguments.n_gen / decode, limits.read_gb_per_s)
            )

    print(f"{Path(arguments.config).stem}, {arguments.dtype}, medians of {arguments.repetitions} rounds\n")
    prompt, generated = f"pp{arguments.n_prompt}", f"tg{arguments.n_gen}"
    print(f"| threads | {prompt} tokens/s | × | its limit × | {generated} tokens/s | × | read × |")
    print("| ------: | -----: | --: | --: | -----: | --: | --: |")
    first = medians(turns[counts[0]])
    for threads in counts:
        now = medians(turns[threads])
        print(
            f"| {threads} | {now.prefill:.1f} | {now.prefill / first.prefill:.2f} | {now.peak / first.peak:.2f} "
            f"| {now.decode:.1f} | {now.decode / first.decode:.2f} | {now.read / first.read:.2f} |"
        )


def medians(turns: list[Turn]) -> Turn:
    """Of each field by itself."""
    return Turn(*(statistics.median(column) for column in zip(*turns, strict=True)))


def powers_of_two(cores: int) -> list[int]:
    """1, 2, 4, … and the number of cores itself."""
    return sorted({1 << bit for bit in range(cores.bit_length()) if 1 << bit <= cores} | {cores})


def run(executor: Executor, prompt_tokens: int, generated_tokens: int) -> tuple[float, float]:
    """Seconds of a prefill, the last of those of a second or so, and of a decode after a short prompt."""
    random = np.random.default_rng(0)
    ids = random.integers(0, executor.vocab_size, max(prompt_tokens, PROMPT_TOKENS + generated_tokens), np.int32)
    sequence = executor.cache.new_sequence()
    try:
        begin = time.perf_counter()
        is_warm = False
        while not is_warm:
            is_warm = time.perf_counter() > begin + WARM_UP_SECONDS
            prefill = time_steps(executor, [sequence], ids[:prompt_tokens], executor.max_step_tokens)
            executor.cache.truncate(sequence, 0)
        time_steps(executor, [sequence], ids[:PROMPT_TOKENS], executor.max_step_tokens)
        return prefill, time_steps(executor, [sequence], ids[PROMPT_TOKENS : PROMPT_TOKENS + generated_tokens], 1)
    finally:
        executor.cache.free(sequence)


if __name__ == "__main__":
    with one_sentence():
        main()
