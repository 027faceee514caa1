"""Print what steps of few tokens cost in each weight format: a layer's products, as often as fill 400 MB.

Usage: python bench/steps.py [--config CONFIG.json] [--dtype TYPE ...] [--tokens 1 2 4 8 16] [-t 2] [--rounds 7]

Weights are read once a step, so that a step of few tokens should take little longer than one token. A cell says: time
beside one token's, share of the peak of int8 dot products, share of the read bandwidth. Sizes take turns, the limits
with them; medians of all rounds. Making the activations' form is not counted. TYPE: a type of `--dtype`, or a block
type of GGUF files by its name there. Q4_0 and Q8_0 are multiplied as int4g32 and int8g32 are.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
from kernels import CONFIG, fill, shapes_of, timed
from numpy.typing import NDArray
from one_sentence import one_sentence

from ftllm_nb.benchmark.limits import MachineLimits, measure_limits
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, STEP_TOKENS
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.loading import warn_on_stderr
from ftllm_nb.memory import Slabs
from ftllm_nb.quant.base import WeightFormat, weight_format
from ftllm_nb.quant.blocks import BlockFormat, RoundedBlocks

SHAPE = "qwen2.5-1.5b.json"
"""Whose rows are whole super-blocks."""
FORMATS = ["int4g32", "int4g128", "int8g32", "int8", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
           "MXFP4"]  # fmt: skip
STEP_BYTES = 400_000_000
"""Of weights, about: more than a cache holds."""
LIMIT_SECONDS = 0.02


def main() -> None:
    """A row a format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a config.json (default: Qwen2.5-1.5B's)")
    parser.add_argument("--dtype", nargs="+", metavar="TYPE", default=FORMATS, help="default: those that steps use")
    parser.add_argument("--tokens", type=whole_number(1), nargs="+", default=[1, 2, 4, 8, 16], help="of a step")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("--rounds", type=whole_number(1), default=7, help="default: 7")
    arguments = parser.parse_args()
    formats = [_format(name) for name in arguments.dtype]
    config = arguments.config or str(CONFIG.with_name(SHAPE))
    shapes = shapes_of(config)
    threads = EngineOptions(threads=arguments.threads).check(warn_on_stderr)
    pool = ThreadPool(threads, 4 << 20)
    sizes = sorted({1, *arguments.tokens})
    print(f"\ntier {current_tier().name}, {threads} threads, medians of {arguments.rounds} rounds\n")
    print("| weights | GB/s |", *(f"{size} |" for size in sizes))
    print("| ------- | ---: |", *("---: |" for _ in sizes), flush=True)
    for format in formats:
        step = Step(format, shapes, max(sizes))
        if step.bytes == 0:
            continue
        rounds = [step.round(pool, sizes, threads) for _ in range(arguments.rounds + 1)][1:]
        cells = []
        for size in sizes:
            ratio = statistics.median(times[size] / times[1] for times, _ in rounds)
            read = statistics.median(step.bytes / times[size] / 1e9 / limits.read_gb_per_s for times, limits in rounds)
            peaks = [1e9 * (limits.dot_gop_per_s or np.nan) for _, limits in rounds]
            dot = statistics.median(
                step.operations * size / times[size] / peak for (times, _), peak in zip(rounds, peaks, strict=True)
            )
            cells.append(f"{ratio:.2f}, {dot:.0%}, {read:.0%} |")
        speed = statistics.median(step.bytes / times[1] / 1e9 for times, _ in rounds)
        print(f"| {format.name} | {speed:.1f} |", *cells, flush=True)


def _format(name: str) -> WeightFormat:
    return BlockFormat(name) if name.isupper() and BlockFormat.has(name) else weight_format(name)


class Step:
    """The products of some layers, one after the other, each with weights of its own."""

    def __init__(self, format: WeightFormat, shapes: list[tuple[int, int]], most_tokens: int) -> None:
        fitting = [(rows, columns) for rows, columns in shapes if _fits(format, columns)]
        of_layer = sum(format.packed_bytes(rows, columns) for rows, columns in fitting)
        layers = max(1, STEP_BYTES // of_layer) if fitting else 0
        self.bytes, self.slabs = layers * of_layer, Slabs()
        self.operations = 2.0 * layers * sum(rows * columns for rows, columns in fitting)
        self.program = np.zeros((layers * len(fitting), ROW_FIELDS), np.int64)
        self.kept: list[NDArray] = []
        operands = [self._operands(format, *shape, most_tokens) for shape in fitting]
        for number, row in enumerate(self.program):
            rows, columns = fitting[number % len(fitting)]
            x, bias, out = operands[number % len(fitting)]
            weights = self.slabs.take(format.packed_bytes(rows, columns))
            fill(weights)
            self.kept.append(weights)
            row[:11] = (
                format.linear_kernel().address, x.ctypes.data, x.shape[1], format.padded_columns(columns),
                weights.ctypes.data, format.block_bytes(columns), len(bias) // 16, bias.ctypes.data, out.ctypes.data,
                4 * len(bias), STEP_TOKENS,
            )  # fmt: skip

    def _operands(self, format: WeightFormat, rows: int, columns: int, tokens: int) -> tuple[NDArray, NDArray, NDArray]:
        row_bytes = 4 * columns if format.activations is None else -(-format.activations.row_bytes(columns) // 64) * 64
        x, blocks = self.slabs.take(tokens * row_bytes).reshape(tokens, row_bytes), -(-rows // 16)
        fill(x.reshape(-1))
        arrays = x, np.zeros(16 * blocks, np.float32), self.slabs.take(tokens * blocks * 64)
        self.kept += arrays
        return arrays

    def round(self, pool: ThreadPool, sizes: list[int], threads: int) -> tuple[dict[int, float], MachineLimits]:
        """Seconds of a step by its tokens, and the limits just then."""
        header, times = np.zeros(STEP_FIELDS, np.int64), {}
        for size in sizes:
            header[STEP_TOKENS] = size
            times[size] = timed(pool, self.program, header)
        return times, measure_limits(threads, STEP_BYTES, seconds=LIMIT_SECONDS, repetitions=1)


def _fits(format: WeightFormat, columns: int) -> bool:
    if isinstance(format, RoundedBlocks) and format.fitting(columns) != format.name:
        return False
    return not isinstance(format, BlockFormat) or columns % format.type.columns == 0


if __name__ == "__main__":
    with one_sentence():
        main()
