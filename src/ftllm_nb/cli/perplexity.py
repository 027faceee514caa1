"""Measure how well a model foretells a text, and what fewer bits a weight cost.

The text is read in windows of --window tokens, each begun --stride tokens after the one before; a window's tokens that
the one before judged are context. Perplexity is the exponential of the mean negative log-likelihood of the judged
tokens, as in transformers' guide to models of a fixed length. With --base, the next-token distributions at the same
places are compared with those of other weights: KL divergence from the base's, in nats, and how often both find the
same token likeliest. Several types, or folders, give a table.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from typing import Any

from ftllm_nb.cli.model_arguments import add_model_arguments, chosen_path, engine_options, weight_type
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.cli.picture_file import add_picture_flags, picture_form, write_picture
from ftllm_nb.cli.value_types import AnyText, CommaSeparated
from ftllm_nb.errors import UsageError

GROUP = "Speed"
EXAMPLES = (
    "ftllm-nb perplexity -p ~/Qwen2.5-0.5B-Instruct --text wiki.test.raw",
    "ftllm-nb perplexity --text README.md --dtype float32,bfloat16,int8,int4g32 --base float32 --plot fidelity.svg",
)


def weight_types(text: str) -> str:
    """Names of types of weights, separated by commas."""
    return ",".join(weight_type(name.strip()) for name in text.split(","))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb perplexity`."""
    add_model_arguments(parser)
    group = parser.add_argument_group("text and comparison", conflict_handler="resolve")
    group.add_argument("--text", required=True, metavar="FILE", help="the text, UTF-8")
    # "resolve": elsewhere --dtype is one type, and the cache is float16.
    group.add_argument(
        "--dtype",
        default="auto",
        type=CommaSeparated(weight_types, weight_type.known),
        metavar="TYPES",
        help="type of the weights in memory: as for chat, or several separated by commas (default: auto)",
    )
    group.add_argument(
        "--kv_cache_dtype",
        default="float32",
        choices=("float16", "float32", "int8", "int4", "int8int4"),
        help="type of the stored keys and values of earlier tokens; the base's are float32 (default: float32, so "
        "that weights alone differ)",
    )
    group.add_argument(
        "--also", action="append", default=[], metavar="PATH", help="another model for the table; repeatable"
    )
    group.add_argument(
        "--base",
        type=AnyText(weight_type.known),
        metavar="TYPE|PATH",
        help="compare with the model's weights in this type, or with another model",
    )
    group.add_argument(
        "--window",
        type=whole_number(2),
        metavar="N",
        help="tokens of a window (default: 2048, or the context or the text where that is shorter)",
    )
    group.add_argument(
        "--stride",
        type=whole_number(1),
        metavar="N",
        help="tokens from the beginning of a window to that of the next (default: half a window)",
    )
    group.add_argument(
        "--windows", type=whole_number(1), metavar="N", help="read only so many windows (default: all)"
    )
    add_picture_flags(group, "with --base: draw size against mean KL divergence")
    group.add_argument("--json", action="store_true", help="print an object in JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measure and print; the exit status."""
    if args.plot is not None and args.base is None:
        raise UsageError("what is drawn is how far the types are from a base: name one with --base float32.")
    if "" in (args.base, args.text, *args.also):
        raise UsageError("the name after --base, --text or --also is empty.")
    form = None if args.plot is None else picture_form(args.plot)

    from ftllm_nb.benchmark.perplexity import (
        Result,
        Settings,
        base_contender,
        contenders,
        run_perplexity,
        windows_of_text,
    )
    from ftllm_nb.benchmark.perplexity_picture import draw_fidelity
    from ftllm_nb.benchmark.perplexity_report import as_json, table_head, table_row
    from ftllm_nb.cli.progress_bar import ProgressBar
    from ftllm_nb.engine_options import EngineOptions

    path = chosen_path(args)
    options: dict[str, Any] = {**engine_options(args), "dtype": "auto"}
    settings = Settings(
        contenders=contenders(path, args.dtype, args.also, args.kv_cache_dtype),
        base=None if args.base is None else base_contender(path, args.base),
        options=EngineOptions(**options),
        custom=args.custom,
        tokenizer=args.tokenizer,
        revision=args.revision,
        cache_dir=args.cache_dir,
    )
    material = windows_of_text(args.text, args.window, args.stride, args.windows)
    names = [row.name for row in (settings.base, *settings.contenders) if row is not None]
    found: list[Result] = []
    said: list[str] = []
    kept: list[str] = []

    def warn(sentence: str) -> None:
        """Once, though each row may say it anew; not between the rows of the table, but behind them."""
        if sentence in said:
            return
        said.append(sentence)
        if found and not args.json:
            kept.append(sentence)
        else:
            bar.warn(sentence)

    def show(result: Result) -> None:
        found.append(result)
        if not args.json:
            bar.erase()
            if len(found) == 1:
                print(table_head(result, names))
            print(table_row(result, result.rows[-1], names), flush=True)

    def keep(results: list[Result]) -> None:
        if results and args.json:
            print(json.dumps(as_json(results[-1]), indent=2), flush=True)
        if results and form is not None:
            write_picture(args.plot, draw_fidelity(results[-1], form))

    try:
        with ProgressBar() as bar:
            run_perplexity(settings, material, progress=bar.update, warn=warn, so_far=show)
    except BaseException:  # what was found before Ctrl-C, or before a model that cannot be used, took long to find
        with suppress(UsageError):  # which would hide why it ends
            keep(found)
        raise
    finally:
        for sentence in kept:
            bar.warn(sentence)
    keep(found)
    return 0
