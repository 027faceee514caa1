"""Say what ftllm-nb found on this machine and what it chose: CPU, instruction tier, threads, limits, cache.

The limits are measured, which takes some seconds: how fast memory can be read, how many float32 multiply-adds and int8
dot products the cores can do in a second, on all threads together.
"""

from __future__ import annotations

import argparse
import sys

from ftllm_nb.cli.model_arguments import add_threads_argument

GROUP = "Speed"
EXAMPLES = ("ftllm-nb info", "ftllm-nb info -t 1")
READ_BYTES = 512 << 20
"""Read bandwidth is measured over as much memory as a small model takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb info`."""
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print; the exit status."""
    import llvmlite
    import numba
    import numpy

    from ftllm_nb import __version__
    from ftllm_nb.benchmark.cpu_name import cpu_name
    from ftllm_nb.benchmark.limits import measure_limits
    from ftllm_nb.cli.progress_bar import ProgressBar
    from ftllm_nb.host_cores import default_threads, usable_cores, worker_count
    from ftllm_nb.kernels.cache import cache_summary
    from ftllm_nb.kernels.tiers import explain_tiers, host_machine

    with ProgressBar() as bar:
        threads = worker_count(args.threads or default_threads(), bar.warn)
        tiers = explain_tiers()
        bar.update("measure", 0, 1)
        limits = measure_limits(threads, READ_BYTES)
        bar.update("measure", 1, 1)
    dot = "none: this tier has no dot-product instruction"
    if limits.dot_gop_per_s is not None:
        dot = f"{limits.dot_gop_per_s:.0f} GOP/s"
    rows = [
        ("CPU", f"{cpu_name()}, {host_machine()}"),
        *(("tier" if number == 0 else "", line) for number, line in enumerate(tiers)),
        ("threads", f"{threads}, of {usable_cores()} usable cores"),
        ("memory read", f"{limits.read_gb_per_s:.1f} GB/s over {READ_BYTES >> 20} MiB"),
        ("float32 multiply-add", f"{limits.fma_gflop_per_s:.0f} GFLOP/s"),
        ("int8 dot product", dot),
        ("kernel cache", cache_summary()),
        ("versions", f"ftllm-nb {__version__}, Python {sys.version.split()[0]}, Numba {numba.__version__}, "
                     f"llvmlite {llvmlite.__version__}, NumPy {numpy.__version__}"),
    ]  # fmt: skip
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:{width}}  {text}")
    return 0
