"""Write a copy of a model with weights of 8 or 4 bits, which ftllm-nb, transformers and vLLM load; or a GGUF file,
which llama.cpp, Ollama and LM Studio load, too.

The matrices of the model's Linear layers are quantized; in folders, embeddings, the matrix that makes logits and
vectors stay as they are (with --format packed and in GGUF files, only vectors do). OUT appears when it is whole. Where
Ctrl-C, a kill or a disk that cannot be read stops the work, OUT.partial stays beside it, with which --resume goes on;
after any other error nothing stays.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import (
    add_cache_argument,
    add_custom_argument,
    add_threads_argument,
    chosen_path,
)
from ftllm_nb.cli.number_types import byte_size, real_number, whole_number
from ftllm_nb.cli.value_types import OneOf
from ftllm_nb.errors import UsageError
from ftllm_nb.terminal_text import one_printable_line

if TYPE_CHECKING:
    from pathlib import Path

    from ftllm_nb.checkpoint import Checkpoint
    from ftllm_nb.quantization.formats.base import Job, Output
    from ftllm_nb.quantization.options import QuantizeOptions

GROUP = "Models"
ALIASES = ("export",)
DEFAULT_FORMAT = "compressed_tensors"
ENDINGS = {".gguf": "gguf", ".imatrix": "imatrix"}
"""Forms that are files, by how OUT ends; all others are folders."""
EXAMPLES = (
    "ftllm-nb quantize Qwen/Qwen2.5-1.5B-Instruct -o qwen-int4 --dtype int4g128",
    "ftllm-nb quantize Qwen/Qwen2.5-1.5B-Instruct -o qwen-Q4_K_M.gguf --dtype q4_k_m",
    "ftllm-nb quantize my-model -o my-int4 --dtype int4g32 --method gptq --calibration text.txt",
    "ftllm-nb quantize my-model -o my-model.gguf --bits 4.5 --calibration text.txt",
    "ftllm-nb quantize demo --dtype int8 --dry_run",
)


def quantized_type_names() -> list[str]:
    """The types of quantized weights, those of folders first."""
    from ftllm_nb.quantization.formats import output_format, output_formats  # only here: --help does not wait for it

    return list(dict.fromkeys(dtype for name in output_formats() for dtype in output_format(name).dtypes()))


def method_names() -> list[str]:
    """The methods of quantization."""
    from ftllm_nb.quantization.methods import methods  # only here, as above

    return methods()


def format_names() -> list[str]:
    """The forms of a quantized model."""
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
    parser.add_argument("-o", "--output", metavar="OUT", help="the folder to make; or the .gguf file")
    parser.add_argument(
        "--dtype",
        type=OneOf(quantized_type_names),
        metavar="TYPE",
        help="int8 or int4 (one scale a row), or with a scale for each group int8g32, int8g64, int8g128, int4g32, "
        "int4g64, int4g128 (also int4g) or int4g256 (default: int4g128); in packed folders also iq4_nl, iq4_xs, q4_1, "
        "q4_k, q5_0, q5_1, q5_k, q6_k, and auto for as stored; in GGUF files q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, "
        "q6_k, iq4_nl, iq4_xs, mxfp4, f16, bf16, f32, auto for as stored, or mixtures of K types, q4_k_s, "
        "q4_k_m, q5_k_s or q5_k_m (default there: q4_k_m)",
    )
    parser.add_argument(
        "--bits",
        type=real_number(0, above_low=True),
        metavar="B",
        help="in place of --dtype: a type for each matrix, so that all take B bits a weight, as 4.5, and the model "
        "changes least; measured with a text, whatever the method (default here: gptq). Embeddings and the matrix that "
        "makes logits are not counted",
    )
    parser.add_argument(
        "--embedding_bits",
        type=real_number(0, above_low=True),
        metavar="B",
        help="with --bits, in packed folders and GGUF files: at most so many bits a weight for embeddings and the "
        "matrix that makes logits (default: 6 to 8)",
    )
    parser.add_argument(
        "--dtype_config",
        metavar="FILE",
        help='a JSON file of exceptions from --dtype (a list of {"key": regular expression of weights\' names, '
        '"dtype": type, auto for as it is}; later ones win)',
    )
    parser.add_argument(
        "--method",
        type=OneOf(method_names),
        metavar="NAME",
        help="how scales are chosen: rtn, round to nearest; mse, least mean squared error; or, by what a text makes "
        "of the model's inputs, imatrix, least error of outputs, or gptq, which makes errors good, too, or best, gptq "
        "with each number chosen anew (default: mse, or gptq with --bits)",
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="with imatrix, gptq and best: a UTF-8 text as those that the model is for, or builtin, conversations and "
        "code; with imatrix also what llama-imatrix has written, FILE.imatrix, .dat or .gguf (default: builtin); with "
        "--bits what is measured with",
    )
    parser.add_argument(
        "--calibration_tokens",
        type=whole_number(1),
        metavar="N",
        help="how many of its tokens are read, about (default: 32768)",
    )
    parser.add_argument(
        "--asymmetric", action="store_true", help="a zero point beside each scale: nearer to the weights, a bit larger"
    )
    parser.add_argument(
        "--format",
        type=OneOf(format_names),
        metavar="NAME",
        help="what the folder holds: compressed_tensors, which other programs load, too, or packed, which only "
        "ftllm-nb loads, and at once; or gguf, a file of llama.cpp; or imatrix, the importance of inputs alone, as "
        "llama-imatrix writes it (default: gguf where OUT ends in .gguf, imatrix where in .imatrix, else "
        "compressed_tensors)",
    )
    parser.add_argument(
        "--max_shard_size",
        type=byte_size,
        default="5GB",
        metavar="SIZE",
        help="size of the largest file of weights, as 500MB or 5GB; in folders (default: 5GB)",
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
    import time

    started = time.monotonic()
    from ftllm_nb.checkpoint import open_checkpoint
    from ftllm_nb.engine.weight_types import read_rules
    from ftllm_nb.graph.unread_tensors import unread_warning
    from ftllm_nb.loading import model_folder
    from ftllm_nb.quantization.formats import output_format
    from ftllm_nb.quantization.options import QuantizeOptions

    if args.output is None and not args.dry_run:
        raise UsageError("-o is missing: name the folder or the .gguf file to make, or ask for --dry_run.")
    by_name = ENDINGS.get(os.path.splitext((args.output or "").lower())[1])
    format = args.format or by_name or DEFAULT_FORMAT
    if by_name is not None and format not in ENDINGS.values():
        raise UsageError(f"-o {args.output} names a {by_name} file, and --format {format} makes folders: change one.")
    output = output_format(format)
    if args.dtype is not None and output.dtypes() and args.dtype not in output.dtypes():
        others = [name for name in format_names() if args.dtype in output_format(name).dtypes()]
        raise UsageError(
            f"--dtype {args.dtype} is of --format {' or '.join(others)}, and {format} has {', '.join(output.dtypes())}."
        )
    rules = () if args.dtype_config is None else read_rules(args.dtype_config, output.rule_dtypes())
    if args.bits is not None and args.dtype is not None:
        raise UsageError("--bits chooses the types that --dtype would name: leave one of them out.")
    dtype = args.dtype or (output.default_dtype if args.bits is None else output.beside(args.bits, not args.asymmetric))
    method = args.method or (output.default_method if args.bits is None else "gptq")
    options = QuantizeOptions(
        dtype, method, not args.asymmetric, rules, format, args.max_shard_size, args.custom, args.calibration,
        args.calibration_tokens, args.bits, args.embedding_bits,
    )  # fmt: skip
    output.check(options)
    options.check()
    with open_checkpoint(model_folder(chosen_path(args), args.revision, args.cache_dir)) as checkpoint:
        job = output.job(checkpoint, options) if args.bits is None else chosen_job(output, checkpoint, options, args)
        for sentence in (*unread_warning(job.unread_tensors), *job.notes()):
            print(f"warning: {one_printable_line(sentence)}", file=sys.stderr)
        if args.dry_run:
            if args.output is not None:
                warn_of_place(job, args)
            print(job.table())
        else:
            write(job, args, started)
    return 0


def chosen_job(
    output: Output, checkpoint: Checkpoint, options: QuantizeOptions, args: argparse.Namespace
) -> Job:
    """The job with a type for each matrix; prints what was chosen."""
    from ftllm_nb.cli.progress_bar import RateBar
    from ftllm_nb.host_cores import default_threads, worker_count
    from ftllm_nb.quantization.mixed import mixed_job

    out = None if args.dry_run else absolute(args.output)
    with RateBar("quantize") as bar:
        threads = worker_count(args.threads or default_threads(), bar.warn)
        job, choice = mixed_job(
            output, checkpoint, options, threads, out=out, replaces=args.force, resume=args.resume, progress=bar.update
        )
    print(f"{choice.table()}\n")
    return job


def warn_of_place(job: Job, args: argparse.Namespace) -> None:
    """Say on stderr why OUT could not be made there."""
    try:
        job.check_place(absolute(args.output), args.force)
    except UsageError as error:
        print(f"warning: {one_printable_line(str(error))}", file=sys.stderr)


def write(job: Job, args: argparse.Namespace, started: float) -> None:
    """Make OUT, and say what it is, and how long it took since `started`."""
    import time

    from ftllm_nb.cli.progress_bar import RateBar
    from ftllm_nb.host_cores import default_threads, worker_count
    from ftllm_nb.quantization.mixed import kept_path
    from ftllm_nb.quantization.partial import partial_path

    out = absolute(args.output)
    try:
        with RateBar("quantize") as bar:
            threads = worker_count(args.threads or default_threads(), bar.warn)
            job.write(out, threads, resume=args.resume, replace=args.force, progress=bar.update)
    except KeyboardInterrupt:
        if partial_path(out).is_dir():
            print(f"stopped: {partial_path(out)} keeps what was done, for --resume.", file=sys.stderr)
        raise
    kept_path(out).unlink(missing_ok=True)
    counted = job.unquantized() if args.bits is None else " with embeddings"
    print(f"{out}: {job.summary()}{counted} ({time.monotonic() - started:.1f} s)")


def absolute(output: str) -> Path:
    """What is to be made, as an absolute path."""
    import os
    from pathlib import Path

    out = Path(os.path.abspath(os.path.expanduser(output)))
    if not output or not out.name:
        raise UsageError(f"-o {output!r} is no name for a new folder or file.")
    return out
