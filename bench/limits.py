"""Print the machine's limits: read bandwidth, float32 multiply-adds, int8 dot products.

Usage: python bench/limits.py [-t THREADS] [--bytes BYTES]
"""

from __future__ import annotations

import argparse

from one_sentence import one_sentence

from ftllm_nb.benchmark.limits import measure_limits
from ftllm_nb.cli.number_types import whole_number


def main() -> None:
    """Measure and print one line a limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-t", "--threads", type=whole_number(1), default=1, help="threads (default: 1)")
    parser.add_argument("--bytes", type=whole_number(1), default=10**9, help="buffer to read (default: 1 GB)")
    arguments = parser.parse_args()
    limits = measure_limits(arguments.threads, arguments.bytes)
    print(f"read  {limits.read_gb_per_s:8.1f} GB/s over {limits.read_bytes / 1e6:.0f} MB")
    print(f"fma   {limits.fma_gflop_per_s:8.1f} GFLOP/s float32")
    if limits.dot_gop_per_s is None:
        print("dot      none: no int8 dot-product instruction in this CPU or tier")
    else:
        print(f"dot   {limits.dot_gop_per_s:8.1f} GOP/s int8")


if __name__ == "__main__":
    with one_sentence():
        main()
