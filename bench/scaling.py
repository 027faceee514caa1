"""Print how prefill and decode of a random model scale with threads, beside the machine's own limits.

Usage: python bench/scaling.py [--config CONFIG.json] [--dtype int4g32] [-t 1 2 4 …] [-p 512] [-n 64] [-r 5]

Each number of threads has a turn in each round; speeds are medians over rounds, and "×" is against the first number
of threads in the list. A limit's own × says what the machine allows: read bandwidth for decode; int8 dot products,
or float32 multiply-adds where the weights are floats, for prefill.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

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
    seconds: dict[int, list[tuple[float, float]]] = {threads: [] for threads in counts}
    for round_number in range(arguments.repetitions + 1):
        for threads, executor in executors.items():
            time.sleep(PAUSE_SECONDS)
            taken = run(executor, arguments.n_prompt, arguments.n_gen)
            if round_number > 0:
                seconds[threads].append(taken)
    weight_bytes = size_of(graph, types).weight_bytes
    limits = {threads: measure_limits(threads, weight_bytes) for threads in counts}

    print(f"{Path(arguments.config).stem}, {arguments.dtype}, medians of {arguments.repetitions} rounds\n")
    prompt, generated = f"pp{arguments.n_prompt}", f"tg{arguments.n_gen}"
    print(f"| threads | {prompt} tokens/s | × | its limit × | {generated} tokens/s | × | read × |")
    print("| ------: | -----: | --: | --: | -----: | --: | --: |")
    first = counts[0]
    uses_dot = arguments.dtype.startswith("int") and limits[first].dot_gop_per_s is not None
    for threads in counts:
        prefill, decode = (statistics.median(column) for column in zip(*seconds[threads], strict=True))
        first_prefill, first_decode = (statistics.median(column) for column in zip(*seconds[first], strict=True))
        now, then = limits[threads], limits[first]
        peak = (now.dot_gop_per_s, then.dot_gop_per_s) if uses_dot else (now.fma_gflop_per_s, then.fma_gflop_per_s)
        print(
            f"| {threads} | {arguments.n_prompt / prefill:.1f} | {first_prefill / prefill:.2f} "
            f"| {peak[0] / peak[1]:.2f} | {arguments.n_gen / decode:.1f} | {first_decode / decode:.2f} "
            f"| {now.read_gb_per_s / then.read_gb_per_s:.2f} |"
        )


def powers_of_two(cores: int) -> list[int]:
    """1, 2, 4, … and the number of cores itself."""
    return sorted({1 << bit for bit in range(cores.bit_length()) if 1 << bit <= cores} | {cores})


def run(executor: Executor, prompt_tokens: int, generated_tokens: int) -> tuple[float, float]:
    """Seconds of a prefill, and of a decode after a short prompt."""
    random = np.random.default_rng(0)
    ids = random.integers(0, executor.vocab_size, max(prompt_tokens, PROMPT_TOKENS + generated_tokens), np.int32)
    sequence = executor.new_sequence()
    try:
        prefill = time_steps(executor, [sequence], ids[:prompt_tokens], executor.max_step_tokens)
        executor.truncate(sequence, 0)
        time_steps(executor, [sequence], ids[:PROMPT_TOKENS], executor.max_step_tokens)
        return prefill, time_steps(executor, [sequence], ids[PROMPT_TOKENS : PROMPT_TOKENS + generated_tokens], 1)
    finally:
        executor.free_sequence(sequence)


if __name__ == "__main__":
    main()
