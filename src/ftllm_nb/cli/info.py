"""Say what ftllm-nb found on this machine and what it chose: CPU, instruction tier, threads, limits, cache.

With --limits, measure as well how fast memory can be read, and how many float32 multiply-adds and int8 dot products the
cores can do in a second, on all threads together. With a model, say instead what it is and whether it fits into memory,
by the type of its weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.cli.model_arguments import add_cache_argument, add_custom_argument, add_threads_argument, named_path
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.errors import UsageError

GROUP = "Speed"
EXAMPLES = (
    "ftllm-nb info",
    "ftllm-nb info --limits -t 2",
    "ftllm-nb info -p Qwen/Qwen2.5-0.5B-Instruct",
    "ftllm-nb info -p google/gemma-3-1b-it --context 8192",
)
READ_BYTES = 512 << 20
"""Read bandwidth is measured over as much memory as a small model takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb info`."""
    parser.add_argument("positional_path", nargs="?", metavar="PATH", help="the same as --path, without the flag")
    parser.add_argument(
        "-p",
        "--path",
        metavar="PATH",
        help="say what this model is and what memory it needs: a folder, a GGUF file, OWNER/NAME on the Hugging Face "
        "hub, or demo",
    )
    parser.add_argument(
        "--revision", metavar="NAME", help="of a model on the hub: a branch, tag or commit (default: the newest)"
    )
    add_cache_argument(parser)
    parser.add_argument(
        "--context",
        metavar="N",
        type=whole_number(1),
        help="tokens of the conversation whose cache is told (default: all that the model reads)",
    )
    add_custom_argument(parser)
    add_threads_argument(parser)
    parser.add_argument(
        "--limits", action="store_true", help="measure the machine's memory bandwidth and arithmetic (some seconds)"
    )


def run(args: argparse.Namespace) -> int:
    """Print; the exit status."""
    path, preset = named_path(args), getattr(args, "preset_path", None)
    if path is None and args.custom is None:
        if preset is None and args.context is not None and "context" not in args.presets:
            raise UsageError("--context is of a model's conversation: name a model.")
        print_rows(machine_rows(args.threads, args.limits))
        if preset is not None:  # a model that the settings name is told of, too, and hides no machine
            args.limits = False
            print()
            print_rows(model_rows(preset, args))
    else:
        print_rows(model_rows(path or preset or "demo", args))
    return 0


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Two columns."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:{width}}  {text}")


def model_rows(path: str, args: argparse.Namespace) -> list[tuple[str, str]]:
    """What a model is and needs."""
    from ftllm_nb.benchmark import model_facts
    from ftllm_nb.host_cores import default_threads
    from ftllm_nb.host_memory import available_bytes
    from ftllm_nb.loading import model_folder

    folder = model_folder(path, args.revision, args.cache_dir)
    facts = model_facts.model_facts(folder, args.custom, args.context)
    rows = [("model", str(folder)), *model_facts.model_rows(facts, available_bytes())]
    if args.limits:
        rows += limit_rows(args.threads or default_threads())
    return rows


def limit_rows(threads: int) -> list[tuple[str, str]]:
    """What the machine can do at most, which takes seconds to measure."""
    from ftllm_nb.benchmark.limits import measure_limits
    from ftllm_nb.cli.progress_bar import ProgressBar

    with ProgressBar() as bar:
        bar.update("measure", 0, 1)
        limits = measure_limits(threads, READ_BYTES)
    dot = "none: this tier has no dot-product instruction"
    if limits.dot_gop_per_s is not None:
        dot = f"{limits.dot_gop_per_s:.0f} GOP/s, of vectors"
    return [
        ("memory read", f"{limits.read_gb_per_s:.1f} GB/s over {READ_BYTES >> 20} MiB"),
        ("float32 multiply-add", f"{limits.fma_gflop_per_s:.0f} GFLOP/s"),
        ("int8 dot product", dot),
    ]


def machine_rows(chosen_threads: int | None, with_limits: bool) -> list[tuple[str, str]]:
    """What the machine is and what was chosen."""
    from importlib.metadata import version

    from ftllm_nb import __version__
    from ftllm_nb.benchmark.cpu_name import cpu_name
    from ftllm_nb.cli.presets import config_file
    from ftllm_nb.cli.progress_bar import ProgressBar
    from ftllm_nb.host_cores import cpu_quota, default_threads, usable_cores, worker_count, worker_cpus
    from ftllm_nb.host_memory import available_bytes
    from ftllm_nb.kernels.cache import cache_summary
    from ftllm_nb.kernels.loop_choice import loop_choice
    from ftllm_nb.kernels.tiers import TIERS, explain_tiers, host_features, host_machine

    threads = worker_count(chosen_threads or default_threads(), ProgressBar().warn)
    cpus, memory = worker_cpus(threads), available_bytes()
    features = host_features() & {name for tier in TIERS for name in tier.required}
    quota = cpu_quota()
    within = "" if quota is None else f", within a quota of {quota:g} cores"
    settings = config_file()
    found = "" if settings is None or settings.is_file() else " (not there)"
    return [
        ("CPU", f"{cpu_name()}, {host_machine()}"),
        ("features", ", ".join(sorted(features)) or "none that kernels ask for"),
        *(("tier" if number == 0 else "", line) for number, line in enumerate(explain_tiers())),
        ("loops", loop_choice().explain()),
        ("threads", f"{threads}, of {usable_cores()} usable cores{within}"),
        ("with --pin", "this system lets no program choose its threads' cores" if cpus is None
                       else f"threads stay on CPUs {', '.join(map(str, cpus))}"),
        ("free memory", "not known" if memory is None else shown_bytes(memory)),
        *(limit_rows(threads) if with_limits else [("limits", "not measured: --limits measures them")]),
        ("kernel cache", cache_summary()),
        ("settings", f"{settings or 'none: there is no home folder'}{found}"),
        ("versions", f"ftllm-nb {__version__}, Python {sys.version.split()[0]}, Numba {version('numba')}, "
                     f"llvmlite {version('llvmlite')}, NumPy {version('numpy')}"),
    ]  # fmt: skip
