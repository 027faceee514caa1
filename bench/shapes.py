"""Print how near models of many shapes come to the machine's limits, beside Qwen2.5-0.5B in turns.

Usage: python bench/shapes.py [CONFIG.json …] [--dtype int4g32] [-t 2] [-p 512] [-n 32] [-r 3] [--depth 0]

The models are random. One at a time is in memory, beside Qwen2.5-0.5B's, with which it takes turns: each turn is a
prefill, a decode, and the machine's limits. Shares are of the limit that a test is nearest to, as `ftllm-nb bench`
counts them (products and attention, each by its own peak), medians over rounds, and "-" where the machine has no such
limit (int8 products without instructions for them); "×" is the median of each round's rate by Qwen2.5-0.5B's in the
same round, each as a share of its limit where there is one. Below 1 something in this shape is slower than need be.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from one_sentence import one_sentence

from ftllm_nb.benchmark.cpu_name import cpu_name
from ftllm_nb.benchmark.limits import MachineLimits, measure_limits
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.benchmark.speed_test import SpeedTest, require_context, time_steps
from ftllm_nb.benchmark.workload import compare_with_limits, size_of, work_of
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import describe, open_executor

CONFIGS = Path(__file__).parent / "configs"
REFERENCE = CONFIGS / "qwen2.5-0.5b.json"
LIMIT_SECONDS = 0.2
"""Of each limit's measurement in a turn."""


class Speed(NamedTuple):
    """Of a test: tokens/s; what was reached as a share of the limit, None where there is none; operations/s."""

    tokens_per_s: float
    share: float | None
    gop_per_s: float

    def by(self, other: Speed) -> float:
        """The share by the other's, or the operations by the other's where there is no limit."""
        if self.share is None or other.share is None:
            return self.gop_per_s / other.gop_per_s
        return self.share / other.share


def main() -> None:
    """Take turns, model by model; print a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", help="config.json files (default: all of bench/configs)")
    parser.add_argument("--dtype", default="int4g32", help="weight format (default: int4g32)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("-p", "--n_prompt", type=whole_number(1), default=512,
                        help="tokens of the prompt (default: 512)")  # fmt: skip
    parser.add_argument("-n", "--n_gen", type=whole_number(1), default=32, help="tokens generated (default: 32)")
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=3, help="rounds (default: 3)")
    parser.add_argument("--depth", type=whole_number(0), default=0, help="tokens of context before (default: 0)")
    arguments = parser.parse_args()
    files = [Path(name) for name in arguments.configs] or sorted(set(CONFIGS.glob("*.json")) - {REFERENCE})
    tests = [
        SpeedTest(is_decode=False, tokens=arguments.n_prompt, depth=arguments.depth),
        SpeedTest(is_decode=True, tokens=arguments.n_gen, depth=arguments.depth),
    ]
    types = WeightTypes(arguments.dtype)
    for file in files:
        open_weights(random_model(file, arguments.dtype)).close()  # says what is wrong before anything is measured
    with closing(Model(REFERENCE, types, arguments.threads, tests)) as reference:
        print(f"{cpu_name()}, {arguments.threads} threads, {arguments.dtype}, {datetime.date.today()}")
        print(f"medians of {arguments.repetitions} rounds; shares of the limit, × those of {REFERENCE.stem}\n")
        print(f"| model | MiB | {tests[0].name} | of limit | × | {tests[1].name} | of limit | × |")
        print("| ----- | --: | ----: | ---: | --: | ----: | ---: | --: |", flush=True)
        for file in files:
            with closing(Model(file, types, arguments.threads, tests)) as model:
                model.turn(tests)
                rounds = [(model.turn(tests), reference.turn(tests)) for _ in range(arguments.repetitions)]
                print(row(file.stem, model.size.weight_bytes, rounds), flush=True)


def row(name: str, weight_bytes: int, rounds: list[tuple[list[Speed], list[Speed]]]) -> str:
    """A line of the table; each round has the model's speeds and the reference's, a test each."""
    cells = [name, f"{weight_bytes / 2**20:.0f}"]
    for own, other in zip(*(zip(*column, strict=True) for column in zip(*rounds, strict=True)), strict=True):
        shares = [speed.share for speed in own if speed.share is not None]
        cells += [
            f"{statistics.median(speed.tokens_per_s for speed in own):.1f}",
            f"{statistics.median(shares):.1%}" if shares else "-",
            f"{statistics.median(speed.by(beside) for speed, beside in zip(own, other, strict=True)):.2f}",
        ]
    return f"| {' | '.join(cells)} |"


def random_model(config: Path, dtype: str) -> Settings:
    """Random weights of a config.json."""
    return Settings(random_config=str(config), random=True, options=EngineOptions(dtype=dtype))


class Model:
    """A random model in memory."""

    def __init__(self, config: Path, types: WeightTypes, threads: int, tests: list[SpeedTest]) -> None:
        with open_weights(random_model(config, types.dtype)) as checkpoint:
            graph = describe(checkpoint)
            self.size = size_of(graph, types)
            self._executor = open_executor(graph, checkpoint, types, threads=threads)
        self._threads = threads
        try:
            require_context(tests, self._executor.max_positions)
        except UsageError:
            self.close()
            raise

    def close(self) -> None:
        """Give its memory back."""
        self._executor.close()

    def turn(self, tests: list[SpeedTest]) -> list[Speed]:
        """Run each test once, then measure the limits."""
        done = [replace(test, seconds=[self._seconds(test)]) for test in tests]
        limits = measure_limits(self._threads, self.size.weight_bytes, seconds=LIMIT_SECONDS, repetitions=1)
        return [self._speed(test, limits) for test in done]

    def _speed(self, test: SpeedTest, limits: MachineLimits) -> Speed:
        work = work_of(test, self.size, self._executor.max_step_tokens)
        reached = compare_with_limits(test, work, limits, self.size.multiplies_integers)
        return Speed(test.tokens_per_s, reached.share_of_limit, reached.gop_per_s)

    def _seconds(self, test: SpeedTest) -> float:
        executor = self._executor
        before = test.tokens_before
        ids = np.random.default_rng(0).integers(0, executor.vocab_size, before + test.tokens, np.int32)
        sequence = executor.cache.new_sequence()
        try:
            time_steps(executor, [sequence], ids[:before], executor.max_step_tokens)
            return time_steps(executor, [sequence], ids[before:], 1 if test.is_decode else executor.max_step_tokens)
        finally:
            executor.cache.free(sequence)


if __name__ == "__main__":
    with one_sentence():
        main()
