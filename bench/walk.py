"""Print how long a walk of a program of empty kernels takes: the engine's overhead of each step.

Usage: python bench/walk.py [-t THREADS] [--operators 400] [--walks 2000]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from one_sentence import one_sentence

from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS


@kernel()
def empty(row, step, worker):
    """Does nothing."""


def main() -> None:
    """Time walks one by one; the median is what a step costs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("--operators", type=whole_number(1), default=400, help="rows of the program (default: 400)")
    parser.add_argument("--walks", type=whole_number(1), default=2000, help="walks to time (default: 2000)")
    arguments = parser.parse_args()
    program = np.zeros((arguments.operators, ROW_FIELDS), np.int64)
    program[:, 0] = empty.address
    step = np.zeros(STEP_FIELDS, np.int64)
    pool = ThreadPool(arguments.threads)
    try:
        pool.run(program, step)
        microseconds = sorted(timed_walk(pool, program, step) for _ in range(arguments.walks))
    finally:
        pool.close()
    median = statistics.median(microseconds)
    print(f"{arguments.operators} empty operators on {arguments.threads} threads, {arguments.walks} walks")
    print(f"median {median:.1f} µs ({median / arguments.operators * 1000:.0f} ns an operator)")
    slow = microseconds[len(microseconds) * 99 // 100]
    print(f"fastest {microseconds[0]:.1f} µs, 99th percentile {slow:.1f} µs")


def timed_walk(pool: ThreadPool, program: np.ndarray, step: np.ndarray) -> float:
    """Microseconds of one walk."""
    started = time.perf_counter()
    pool.run(program, step)
    return (time.perf_counter() - started) * 1e6


if __name__ == "__main__":
    with one_sentence():
        main()
