"""Print how fast each weight format's products are on their own: every shape of a configuration, by tokens of a step.

Usage: python bench/kernels.py [--config CONFIG.json] [--dtype TYPE ...] [--tier TIER ...] [--tokens 1 16 512] [-t 2]

One token: GB/s of packed weights, as a share of the read bandwidth over as large a buffer. More: operations a second,
as a share of the peak of int8 dot products (integer weights) or float32 multiply-adds. Making the activations' form is
not counted. Limits are measured just before each format.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from one_sentence import one_sentence

from ftllm_nb.benchmark.limits import MachineLimits, measure_limits
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, STEP_TOKENS
from ftllm_nb.kernels.tiers import current_tier, supported_tiers
from ftllm_nb.loading import describe, warn_on_stderr
from ftllm_nb.memory import Slabs
from ftllm_nb.quant import weight_formats
from ftllm_nb.quant.base import WeightFormat, weight_format
from ftllm_nb.quant.blocks import BlockFormat, RoundedBlocks
from ftllm_nb.quant.integers import IntegerLayout

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
READ_BYTES = 400_000_000
"""Few tokens read different matrices one after the other, of about so many bytes: more than a cache holds."""
FEW_TOKENS = 32
LEAST_OPERATIONS = 2e10
"""Of a repetition with many tokens."""
MOST_PRODUCTS = 4096
"""Of a repetition: of small matrices."""
REPETITIONS = 7


def main() -> None:
    """A table a tier; every tier but the chosen one in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-0.5B's)")
    parser.add_argument("--dtype", nargs="+", metavar="TYPE", default=weight_formats(),
                        help="weight formats (default: all, which takes minutes)")  # fmt: skip
    parser.add_argument("--tier", nargs="+", choices=[*(tier.name for tier in supported_tiers()), "all"],
                        default=[current_tier().name],
                        help="instruction tiers, or all (default: the best)")  # fmt: skip
    parser.add_argument("--tokens", type=whole_number(1), nargs="+", default=[1, 16, 512], help="default: 1 16 512")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    arguments = parser.parse_args()
    tiers = [tier.name for tier in supported_tiers()] if arguments.tier == ["all"] else arguments.tier
    if tiers != [current_tier().name]:
        others = ["--config", arguments.config, "--dtype", *arguments.dtype, "-t", str(arguments.threads),
                  "--tokens", *map(str, arguments.tokens)]  # fmt: skip
        for tier in tiers:
            environment = {**os.environ, "FTLLM_NB_TIER": tier}
            done = subprocess.run([sys.executable, __file__, *others, "--tier", tier], env=environment)
            if done.returncode != 0:
                raise SystemExit(done.returncode)
        return
    formats = [weight_format(dtype) for dtype in arguments.dtype]
    shapes = shapes_of(arguments.config)
    threads = EngineOptions(threads=arguments.threads).check(warn_on_stderr)
    pool = ThreadPool(threads, 4 << 20)
    print(f"\ntier {current_tier().name}, {threads} threads, best of {REPETITIONS}\n")
    print("| weights | columns × rows | tokens | reached | of limit |")
    print("| ------- | -------------: | -----: | ------: | -------: |", flush=True)
    for format in formats:
        limits = measure_limits(threads, READ_BYTES, repetitions=3)
        for rows, columns in shapes:
            if isinstance(format, RoundedBlocks) and format.fitting(columns) != format.name:
                continue  # such a matrix has another type
            for tokens in arguments.tokens:
                reached, share = measure(pool, format, rows, columns, tokens, limits)
                print(f"| {format.name} | {columns} × {rows} | {tokens} | {reached} | {share:.1%} |", flush=True)


def shapes_of(config_file: str) -> list[tuple[int, int]]:
    """(rows, columns) of a layer's products as the engine does them: q, k, v together, and gate and up."""
    with open_weights(Settings(random_config=config_file, random=True)) as checkpoint:
        describe(checkpoint)
        config = checkpoint.config
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim", hidden // heads)
    projected = head_dim * (heads + 2 * config["num_key_value_heads"])
    return [(projected, hidden), (hidden, head_dim * heads), (2 * inner, hidden), (hidden, inner)]


def measure(
    pool: ThreadPool, format: WeightFormat, rows: int, columns: int, tokens: int, limits: MachineLimits
) -> tuple[str, float]:
    """What one shape reaches, and its share of the limit."""
    size = format.packed_bytes(rows, columns)
    operations = 2.0 * rows * columns * tokens
    count = READ_BYTES // size if tokens <= FEW_TOKENS else int(LEAST_OPERATIONS / operations)
    count = max(1, min(count, MOST_PRODUCTS))
    slabs = Slabs()
    weights = [slabs.take(size) for _ in range(count if tokens <= FEW_TOKENS else 1)]
    for weight in weights:
        fill(weight)
    row_bytes = 4 * columns if format.activations is None else -(-format.activations.row_bytes(columns) // 64) * 64
    x = np.zeros((tokens, row_bytes), np.uint8)
    fill(x.reshape(-1))
    blocks = -(-rows // 16)
    bias, out = np.zeros(16 * blocks, np.float32), slabs.take(tokens * blocks * 64)
    program = np.zeros((count, ROW_FIELDS), np.int64)
    for number, row in enumerate(program):
        row[:11] = (
            format.linear_kernel().address, x.ctypes.data, row_bytes, format.padded_columns(columns),
            weights[number % len(weights)].ctypes.data, format.block_bytes(columns), blocks, bias.ctypes.data,
            out.ctypes.data, 64 * blocks, STEP_TOKENS,
        )  # fmt: skip
    step = np.zeros(STEP_FIELDS, np.int64)
    step[STEP_TOKENS] = tokens
    pool.run(program, step)
    best = min(timed(pool, program, step) for _ in range(REPETITIONS))
    if tokens == 1:
        rate = count * size / best / 1e9
        return f"{rate:.1f} GB/s", rate / limits.read_gb_per_s
    rate = count * operations / best / 1e9
    if isinstance(format, IntegerLayout | BlockFormat) and limits.dot_gop_per_s is not None:
        return f"{rate:.0f} GOP/s", rate / limits.dot_gop_per_s
    return f"{rate:.0f} GFLOP/s", rate / limits.fma_gflop_per_s


def fill(memory: np.ndarray) -> None:
    """Bytes that are ordinary numbers in every format: float32, float16 and bfloat16 near 1 in part, scales too."""
    memory[:] = np.resize(np.frombuffer(np.array([0x3C2D3C1F, 0x3C413C0B, 0x3C173C39], "<u4").tobytes(), np.uint8),
                          len(memory))  # fmt: skip


def timed(pool: ThreadPool, program: np.ndarray, step: np.ndarray) -> float:
    """Seconds of a walk."""
    started = time.perf_counter()
    pool.run(program, step)
    return time.perf_counter() - started


if __name__ == "__main__":
    with one_sentence():
        main()
