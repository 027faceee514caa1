"""Write a copy of a model with weights of 8 or 4 bits, which ftllm-nb, transformers and vLLM load.

The matrices of the model's Linear layers are quantized; embeddings, the matrix that makes logits and vectors stay as
they are (with --format packed, only vectors do). The folder appears when it is whole. Where Ctrl-C, a kill or a disk
that cannot be read stops the work, OUT.partial stays beside it, with which --resume goes on; after any other error
nothing stays.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import (
    add_cache_argument,
    add_custom_argument,
    add_threads_argument,
    chosen_path,
)
from ftllm_nb.cli.number_types import byte_size
from ftllm_nb.cli.value_types import OneOf
from ftllm_nb.errors import UsageError
from ftllm_nb.terminal_text import one_printable_line

if TYPE_CHECKING:
    from pathlib import Path

    from ftllm_nb.quantization.job import QuantizeJob

GROUP = "Models"
ALIASES = ("export",)
EXAMPLES = (
    "ftllm-nb quantize Qwen/Qwen2.5-1.5B-Instruct -o qwen-int4 --dtype int4g128",
    "ftllm-nb quantize demo --dtype int8 --dry_run",
)


def quantized_type_names() -> list[str]:
    """The types of quantized weights."""
    from ftllm_nb.quant import quantized_types  # only here: --help does not wait for it

    return list(quantized_types())


def method_names() -> list[str]:
    """The methods of quantization."""
    from ftllm_nb.quantization.methods import methods  # only here, as above

    return methods()


def format_names() -> list[str]:
    """The forms of a quantized folder."""
    from ftllm_nb.quantization.formats import output_formats  # only here, as above

    return output_formats()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb quantize`."""
    parser.add_argument("positional_path", nargs="?", metavar="MODEL", help="the same as --path, without the flag")
    parser.add_argument(
        "-p",
        "--path",
        metavar="MODEL",
        help="the model, of float weights: a folder in Hugging Face form, OWNER/NAME on the Hugging Face hub, or demo "
        "(default: demo)",
    )
    parser.add_argument(
        "--revision", metavar="NAME", help="of a model on the hub: a branch, tag or commit (default: the newest)"
    )
    add_cache_argument(parser)
    add_custom_argument(parser)
    parser.add_argument("-o", "--output", metavar="OUT", help="the folder to make")
    parser.add_argument(
        "--dtype",
        default="int4g128",
        type=OneOf(quantized_type_names),
        metavar="TYPE",
        help="int8 or int4 (one scale a row), or with a scale for each group int8g32, int8g64, int8g128, int4g32, "
        "int4g64, int4g128 (also int4g) or int4g256 (default: int4g128)",
    )
    parser.add_argument(
        "--dtype_config",
        metavar="FILE",
        help='a JSON file of exceptions from --dtype (a list of {"key": regular expression of weights\' names, '
        '"dtype": type, auto for as it is}; later ones win)',
    )
    parser.add_argument(
        "--method",
        default="mse",
        type=OneOf(method_names),
        metavar="NAME",
        help="how scales are chosen: rtn, round to nearest, or mse, least mean squared error (default: mse)",
    )
    parser.add_argument(
        "--asymmetric", action="store_true", help="a zero point beside each scale: nearer to the weights, a bit larger"
    )
    parser.add_argument(
        "--format",
        default="compressed_tensors",
        type=OneOf(format_names),
        metavar="NAME",
        help="what the folder holds: compressed_tensors, which other programs load, too, or packed, which only "
        "ftllm-nb loads, and at once (default: compressed_tensors)",
    )
    parser.add_argument(
        "--max_shard_size",
        type=byte_size,
        default="5GB",
        metavar="SIZE",
        help="size of the largest file of weights, as 500MB or 5GB (default: 5GB)",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print what each tensor would become, and write nothing"
    )
    parser.add_argument("--resume", action="store_true", help="go on with OUT.partial, which a stopped run left")
    parser.add_argument(
        "--force", action="store_true", help="replace OUT, if that is a model's folder, once the new one is whole"
    )
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Quantize; the exit status."""
    from ftllm_nb.checkpoint import open_checkpoint
    from ftllm_nb.engine.weight_types import read_rules
    from ftllm_nb.loading import model_folder, unread_warning
    from ftllm_nb.quantization.job import QuantizeJob, QuantizeOptions
    from ftllm_nb.quantization.table import plan_table

    if args.output is None and not args.dry_run:
        raise UsageError("-o is missing: name the folder to make, or ask for --dry_run.")
    rules = () if args.dtype_config is None else read_rules(args.dtype_config)
    options = QuantizeOptions(
        args.dtype, args.method, not args.asymmetric, rules, args.format, args.max_shard_size, args.custom
    )
    options.check()
    with open_checkpoint(model_folder(chosen_path(args), args.revision, args.cache_dir)) as checkpoint:
        job = QuantizeJob(checkpoint, options)
        for sentence in (*unread_warning(job.unread_tensors), *job.notes()):
            print(f"warning: {one_printable_line(sentence)}", file=sys.stderr)
        if args.dry_run:
            if args.output is not None:
                warn_of_place(job, args)
            print(plan_table(job.tensors, job.format))
        else:
            write(job, args)
    return 0


def warn_of_place(job: QuantizeJob, args: argparse.Namespace) -> None:
    """Say on stderr why the folder could not be made there."""
    from ftllm_nb.quantization.place import check_place

    try:
        check_place(absolute(args.output), job.checkpoint.path, args.force)
    except UsageError as error:
        print(f"warning: {one_printable_line(str(error))}", file=sys.stderr)


def write(job: QuantizeJob, args: argparse.Namespace) -> None:
    """Make the folder, and say what it is."""
    import time

    from ftllm_nb.cli.progress_bar import RateBar
    from ftllm_nb.host_cores import default_threads, worker_count
    from ftllm_nb.quantization.partial import partial_path
    from ftllm_nb.quantization.run import quantize

    out = absolute(args.output)
    started = time.monotonic()
    try:
        with RateBar("quantize") as bar:
            threads = worker_count(args.threads or default_threads(), bar.warn)
            quantize(job, out, threads, resume=args.resume, replace=args.force, progress=bar.update)
    except KeyboardInterrupt:
        if partial_path(out).is_dir():
            print(f"stopped: {partial_path(out)} keeps what was done, for --resume.", file=sys.stderr)
        raise
    size, weights = sum(shard.size for shard in job.layout.shards), job.weights
    print(f"{out}: {size / 1e6:,.1f} MB, {8 * size / weights:.2f} bits a weight ({time.monotonic() - started:.1f} s)")


def absolute(output: str) -> Path:
    """The folder to make, as an absolute path."""
    import os
    from pathlib import Path

    out = Path(os.path.abspath(os.path.expanduser(output)))
    if not output or not out.name:
        raise UsageError(f"-o {output!r} is no name for a new folder.")
    return out
