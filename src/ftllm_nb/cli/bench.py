"""Measure prefill and decode, and compare them with what this machine can do at most.

Prints a table as llama-bench does: pp512 is a prompt of 512 tokens, tg64 the generation of 64 tokens, in
tokens a second, mean ± standard deviation over the repetitions. Read bandwidth and arithmetic peaks are
measured just before and after; "of limit" is the share of the one that a test is nearest to. Tokens are
random, and nothing is sampled.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import add_model_arguments, engine_options
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.cli.picture_file import add_picture_flags, picture_form, write_picture
from ftllm_nb.cli.value_types import CommaSeparated
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.benchmark.run import Settings

GROUP = "Speed"
EXAMPLES = (
    "ftllm-nb bench ~/Qwen2.5-0.5B-Instruct --dtype int8 -p 512 -n 64",
    "ftllm-nb bench --random --config bench/configs/qwen2.5-1.5b.json --profile",
)
DEFAULT_PROMPT_TOKENS = [512]
DEFAULT_GENERATED_TOKENS = [64]
DEFAULT_REPETITIONS = 5
MAX_BATCH = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb bench`."""
    add_model_arguments(parser, reads_text=False)
    # "resolve": -p, which elsewhere is short for --path, counts tokens here, as in llama-bench.
    group = parser.add_argument_group("tests", conflict_handler="resolve")
    group.add_argument(
        "-p",
        "--n_prompt",
        type=CommaSeparated(token_counts_or_path),
        metavar="N",
        help="tokens of the prompt, or several counts as 128,512; 0 for no such test (default: 512). "
        "An argument that is not a number is taken as the model's PATH",
    )
    group.add_argument(
        "-n",
        "--n_gen",
        type=CommaSeparated(token_counts),
        default=DEFAULT_GENERATED_TOKENS,
        metavar="N",
        help="tokens to generate, or several counts; 0 for no such test (default: 64)",
    )
    group.add_argument(
        "--batch",
        type=whole_number(1, MAX_BATCH),
        default=1,
        metavar="N",
        help="sequences that are decoded together (default: 1)",
    )
    group.add_argument(
        "--depth",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="tokens of context that are there before each test (default: 0)",
    )
    group.add_argument(
        "-r",
        "--repetitions",
        type=whole_number(1),
        default=DEFAULT_REPETITIONS,
        metavar="N",
        help=f"how often each test runs, after one run to warm up (default: {DEFAULT_REPETITIONS})",
    )
    group.add_argument(
        "--random",
        action="store_true",
        help="use random weights: of the model's config.json, or of the one that --config names",
    )
    group.add_argument("--config", metavar="FILE", help="with --random: the config.json of the model to measure")
    group.add_argument(
        "--layers",
        type=whole_number(1),
        metavar="N",
        help="with --random: of the model only the first N layers, of one that is too large for the memory",
    )
    group.add_argument(
        "--profile",
        action="store_true",
        help="print how long each operator and each layer takes, and its share of the machine's limit",
    )
    add_picture_flags(group, "with --profile: draw it as a picture, too")
    group.add_argument("--json", action="store_true", help="print an object in JSON instead of the table")


def token_counts(text: str) -> list[int]:
    """Whole numbers of at least 0, separated by commas."""
    return [whole_number(0)(part) for part in text.split(",")]


def token_counts_or_path(text: str) -> list[int] | str:
    """`token_counts`, or the text itself where it is none: -p is short for --path elsewhere."""
    return token_counts(text) if re.fullmatch(r"[-+.,\d]*\d[-+.,\d]*|,+", text) else text


def model_path(args: argparse.Namespace) -> str | None:
    """The model's path, given by position, by --path or by -p; UsageError when they disagree."""
    given = [args.positional_path, args.path, args.n_prompt if isinstance(args.n_prompt, str) else None]
    paths = sorted({path for path in given if path is not None})
    if not paths and args.config is None:
        return getattr(args, "preset_path", None)
    if len(paths) > 1:
        raise UsageError(f"two models were named, {paths[0]} and {paths[1]}: name one.")
    return paths[0] if paths else None


def run(args: argparse.Namespace) -> int:
    """Measure and print; the exit status."""
    preset = args.presets.get("n_prompt")
    counts = (args.n_prompt, None if preset is None else preset.value, DEFAULT_PROMPT_TOKENS)
    prompt_tokens = next(each for each in counts if isinstance(each, list))  # not where -p names the model
    if args.config == "":
        raise UsageError("the path of --config is empty: name the config.json of a model.")
    if args.config is not None and not args.random:
        raise UsageError("--config describes a model without weights: add --random to measure it.")
    if args.layers is not None and not args.random:
        raise UsageError("--layers measures a part of a model, whose weights must be random: add --random.")
    path = model_path(args)
    if args.config is not None and path is not None:
        raise UsageError(f"both --config {args.config} and the model {path} were named: name one.")
    if not any(prompt_tokens) and not any(args.n_gen):
        raise UsageError("there is nothing to measure: -p and -n are both 0.")

    if args.plot is not None and not args.profile:
        raise UsageError("what is drawn is a profile: add --profile.")
    form = None if args.plot is None else picture_form(args.plot)

    from ftllm_nb.benchmark.run import Settings, run_benchmark
    from ftllm_nb.cli.progress_bar import ProgressBar
    from ftllm_nb.engine_options import EngineOptions

    settings = Settings(
        path=path,
        revision=args.revision,
        cache_dir=args.cache_dir,
        random_config=args.config,
        random=args.random,
        layers=args.layers,
        custom=args.custom,
        options=EngineOptions(**engine_options(args)),
        prompt_tokens=prompt_tokens,
        generated_tokens=args.n_gen,
        repetitions=args.repetitions,
        batch=args.batch,
        depth=args.depth,
    )
    if args.profile:
        return print_profile(settings, args, form)
    with ProgressBar() as bar:
        report = run_benchmark(settings, progress=bar.update, warn=bar.warn)

    import json

    from ftllm_nb.benchmark.report import as_json, as_table

    print(json.dumps(as_json(report), indent=2) if args.json else as_table(report))
    for sentence in report.drifts():
        bar.warn(sentence)
    return 0


def print_profile(settings: Settings, args: argparse.Namespace, form: str | None) -> int:
    """Measure and print where the time goes, and draw it in that form; the exit status."""
    import json

    from ftllm_nb.benchmark.profile_picture import draw_profiles
    from ftllm_nb.benchmark.report import profiles_as_json, profiles_as_tables
    from ftllm_nb.benchmark.run import run_profile
    from ftllm_nb.cli.progress_bar import ProgressBar

    with ProgressBar() as bar:
        report = run_profile(settings, progress=bar.update, warn=bar.warn)
    print(json.dumps(profiles_as_json(report), indent=2) if args.json else profiles_as_tables(report))
    if form is not None:
        write_picture(args.plot, draw_profiles(report.profiles, form))
    return 0
