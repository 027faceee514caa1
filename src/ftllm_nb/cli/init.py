"""Begin the file of a model that no architecture here knows, from its config.json and its tensors' names and shapes.

The file describes the known architecture that the model is nearest to, with the model's own names, as --custom takes
it: it runs at once where nothing is unknown, and has a TODO with a sentence where something is. No weight is read.
"""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import add_described_model_arguments, named_path
from ftllm_nb.errors import BEGINNING, CheckpointError, FtllmError, OutputError, UsageError
from ftllm_nb.terminal_text import one_printable_line

if TYPE_CHECKING:
    from ftllm_nb.checkpoint import Checkpoint
    from ftllm_nb.scaffold.model_file import ModelFile

GROUP = "Models"
EXAMPLES = ("ftllm-nb init my-folder -o my_model.py", "ftllm-nb init OWNER/NAME -o my_model.py --force")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb init`."""
    add_described_model_arguments(
        parser,
        "MODEL",
        "the model: a folder in Hugging Face form, OWNER/NAME on the Hugging Face hub, or a GGUF file",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="the Python file to write")
    parser.add_argument("--force", action="store_true", help="replace the file, if it is there")


def run(args: argparse.Namespace) -> int:
    """Write the file; the exit status."""
    from ftllm_nb.checkpoint import open_checkpoint
    from ftllm_nb.loading import model_folder
    from ftllm_nb.scaffold.candidates import nearest, refusal
    from ftllm_nb.scaffold.model_file import model_file

    path = named_path(args)
    if path is None:
        raise UsageError("a model is missing: name the folder, or OWNER/NAME on the Hugging Face hub.")
    if args.output is None:
        raise UsageError("-o is missing: name the Python file to write, as -o my_model.py.")
    check_place(args.output, args.force)
    with open_checkpoint(model_folder(path, args.revision, args.cache_dir)) as checkpoint:
        candidates = nearest(checkpoint)
        if not candidates:
            raise CheckpointError(
                f"{checkpoint.path}: no known architecture can be made of its config.json; {refusal(checkpoint)}; "
                f"begin the file by hand, as {BEGINNING} shows."
            )
        written = model_file(checkpoint, candidates, checkpoint.path.resolve().name)
        write(args.output, written.text)
        report(written, checkpoint, args.output, path)
    return 0


def check_place(output: str, force: bool) -> None:
    """Raise `UsageError` where no file can be written, or one is there."""
    if not output.endswith(".py"):
        raise UsageError(f"-o {output!r} must name a Python file, whose name ends in .py.")
    if os.path.isdir(output) or not os.path.isdir(os.path.dirname(os.path.abspath(output))):
        raise UsageError(f"-o {output!r} cannot be written: name a file in a folder that there is.")
    if os.path.lexists(output) and not force:
        raise UsageError(f"{output} exists: name another file, or replace it with --force.")


def write(output: str, text: str) -> None:
    """The file, all or nothing; raises `OutputError`."""
    from ftllm_nb.cli.whole_file import write_whole

    try:
        write_whole(output, text, 0o644)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}.") from None


def report(written: ModelFile, checkpoint: Checkpoint, output: str, path: str) -> None:
    """What the file is, what of it is not known, and what to do next."""
    from ftllm_nb.loading import describe

    print(f"{output} is written.")
    for sentence in written.why:
        print(one_printable_line(sentence))
    for sentence in written.todos:
        print(one_printable_line(f"TODO: {sentence}"))
    try:
        graph = describe(checkpoint, output)
    except FtllmError as error:
        print(one_printable_line(f"It cannot run yet: {error}"))
    else:
        print(f"It runs: {len(graph.nodes)} operators on {len(graph.weights)} weights.")
    print(f"Next: {shlex.join(['ftllm-nb', 'graph', path, '--custom', output])}")
