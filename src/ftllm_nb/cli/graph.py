"""Show a model's graph: its operators with shapes, weights, work and line; nothing but headers is read.

Repeated layers are folded: one layer of each kind is shown, with the numbers of those that are like it. --check says
only whether the graph fits its config and its checkpoint, and what of them it leaves out.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import add_custom_argument, add_described_model_arguments, chosen_path, weight_type
from ftllm_nb.errors import UsageError
from ftllm_nb.terminal_text import one_printable_line

if TYPE_CHECKING:
    from ftllm_nb.checkpoint import Checkpoint
    from ftllm_nb.graph.ir import CheckedGraph
    from ftllm_nb.outline.folding import Section

GROUP = "Models"
EXAMPLES = (
    "ftllm-nb graph demo",
    "ftllm-nb graph my-folder --custom my_model.py --check",
    "ftllm-nb graph Qwen/Qwen3-0.6B --svg qwen3.svg",
    "ftllm-nb graph demo --fused --dtype int8g32",
)

_ENDINGS = {"--svg": (".svg",), "--dot": (".dot", ".gv")}
"""Of files: these are replaced where they are there, as a model's own file must not be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb graph`."""
    add_described_model_arguments(
        parser,
        "MODEL",
        "the model: a folder, a GGUF file, OWNER/NAME on the Hugging Face hub, or demo (default: demo)",
    )
    add_custom_argument(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only check, and list what is left out: entries of the config that matter, tensors, data",
    )
    parser.add_argument("--json", action="store_true", help="print the graph as fastllm's JSON, which --custom reads")
    parser.add_argument("--svg", metavar="FILE", help="draw the graph, one layer of each kind, into this SVG file")
    parser.add_argument("--dot", metavar="FILE", help="write the same for Graphviz into this file")
    parser.add_argument(
        "--fused", action="store_true", help="show what is run: several operators in one pass where that is faster"
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        type=weight_type,
        metavar="TYPE",
        help="with --fused: the type that weights would have in memory (default: auto, the type that the folder holds)",
    )


def run(args: argparse.Namespace) -> int:
    """Show the graph; the exit status."""
    from ftllm_nb.checkpoint import open_checkpoint
    from ftllm_nb.graph.unread_tensors import unread_warning
    from ftllm_nb.loading import model_folder, recorded_and_checked

    refuse_contradictions(args)
    with open_checkpoint(model_folder(chosen_path(args), args.revision, args.cache_dir)) as checkpoint:
        recorded, graph = recorded_and_checked(checkpoint, args.custom)
        left_out = [*graph.notes, *unread_warning(graph.unread_tensors)]
        if args.check:
            print_check(graph, left_out)
            return 0
        for sentence in left_out:
            print(f"warning: {one_printable_line(sentence)}", file=sys.stderr)
        if args.json:
            print(recorded)
            return 0
        shown = fused(graph, args.dtype) if args.fused else graph
        show(shown, checkpoint, args)
    return 0


def refuse_contradictions(args: argparse.Namespace) -> None:
    """Raise `UsageError` for flags of which one leaves the other nothing to do, and files that cannot be written."""
    files = {flag: path for flag, path in (("--svg", args.svg), ("--dot", args.dot)) if path is not None}
    others = [*(f"--{name}" for name in ("check", "json") if getattr(args, name)), *files]
    if len(others) > 1 and not set(others) <= set(files):
        raise UsageError(f"{' and '.join(others)} were given: give one of them.")
    if args.json and args.fused:
        raise UsageError("--json is the graph as it was described, and --fused what becomes of it: give one of them.")
    if args.dtype != "auto" and not args.fused:
        raise UsageError("--dtype is of what is run: give it with --fused.")
    for flag, path in files.items():
        if not path or os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise UsageError(f"{flag} {path!r} cannot be written: name a file in a folder that there is.")
        if not path.lower().endswith(_ENDINGS[flag]):
            raise UsageError(f"{flag} {path!r} must name a file that ends in {' or '.join(_ENDINGS[flag])}.")


def print_check(graph: CheckedGraph, left_out: list[str]) -> None:
    """A line for all that is left out, and one that the rest is right."""
    for sentence in left_out:
        print(one_printable_line(sentence))
    weights = len(graph.weights)
    rest = "the rest" if left_out else "all"
    print(
        f"checked: {len(graph.nodes)} operators and {weights} weights fit each other, the config and the checkpoint"
        f"; {'nothing is left out' if not left_out else f'{rest} is read'}."
    )


def fused(graph: CheckedGraph, dtype: str) -> CheckedGraph:
    """What the compiled engine would run with weights of this type."""
    from ftllm_nb.engine.weight_types import WeightTypes
    from ftllm_nb.graph.fuse import fuse
    from ftllm_nb.graph.quantize_inputs import quantize_inputs

    format_of = WeightTypes(dtype).formats(graph)
    return quantize_inputs(fuse(graph, format_of), format_of)


def show(graph: CheckedGraph, checkpoint: Checkpoint, args: argparse.Namespace) -> None:
    """Print the table, or write the pictures."""
    from ftllm_nb.outline.folding import sections_of
    from ftllm_nb.outline.steps import steps_of
    from ftllm_nb.outline.table import table_lines
    from ftllm_nb.outline.totals import total_lines, totals_of

    steps = steps_of(graph, checkpoint.tensors)
    sections = sections_of(steps)
    title = title_of(checkpoint, args)
    totals = total_lines(totals_of(steps, graph, checkpoint.tensors))
    if args.svg is None and args.dot is None:
        print("\n".join([title, "", *table_lines(sections), "", *totals]))
        return
    write_pictures(title, sections, totals, args)


def write_pictures(title: str, sections: list[Section], totals: list[str], args: argparse.Namespace) -> None:
    """The files that --svg and --dot name; raises `OutputError`."""
    from ftllm_nb.cli.whole_file import write_whole
    from ftllm_nb.errors import OutputError
    from ftllm_nb.outline.dot import dot_text
    from ftllm_nb.outline.svg import svg_text

    for path, draw in ((args.svg, svg_text), (args.dot, dot_text)):
        if path is None:
            continue
        try:
            write_whole(path, draw(title, sections, totals), 0o644)
        except OSError as error:
            raise OutputError(f"the picture {path} cannot be written: {error.strerror or error}.") from None
        print(f"{path} is written.")


def title_of(checkpoint: Checkpoint, args: argparse.Namespace) -> str:
    """The model's name, and what describes it."""
    by = os.path.basename(args.custom) if args.custom is not None else str(checkpoint.config.get("model_type", ""))
    what = f"{checkpoint.path.name} ({by})"
    return one_printable_line(f"{what}, as it is run" if args.fused else what)
