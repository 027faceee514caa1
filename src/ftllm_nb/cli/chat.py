"""Talk with a model: on a terminal, line by line in a pipe, or one question with -m.

On a terminal, answers appear as they are made. Ctrl-C stops an answer, `clear` forgets the conversation, and
`stop` or Ctrl-D leaves. When input or output is no terminal, each line of input is one turn of the same
conversation, and each answer is printed as plain text with a line end.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from ftllm_nb import __version__
from ftllm_nb.cli.model_arguments import add_model_arguments, chosen_path, load_model
from ftllm_nb.cli.sampling_arguments import add_sampling_arguments, given_settings
from ftllm_nb.errors import UsageError

ALIASES = ("run",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb chat`."""
    add_model_arguments(parser)
    add_sampling_arguments(parser)
    group = parser.add_argument_group("conversation")
    group.add_argument(
        "-m", "--message", metavar="TEXT", help="ask this one question, print the answer and leave"
    )
    group.add_argument("--system", metavar="TEXT", help="the system message: how the model is told to behave")


def run(args: argparse.Namespace) -> int:
    """Load the model and talk; the exit status."""
    from ftllm_nb.cli.talk.conversation import Conversation
    from ftllm_nb.cli.talk.plain import answer_lines, print_answer
    from ftllm_nb.cli.talk.terminal import talk_on_terminal

    if args.message is not None and not args.message.strip():
        raise UsageError("the text of -m is empty: write the question after it.")
    with closing(load_model(args)) as model:
        conversation = Conversation(model, args.system, given_settings(args))
        if args.message is not None:
            print_answer(conversation, args.message)
        elif sys.stdin.isatty() and sys.stdout.isatty():
            talk_on_terminal(conversation, banner(chosen_path(args), model.threads))
        else:
            answer_lines(conversation)
    return 0


def banner(path: str, threads: int) -> str:
    """What a terminal session begins with."""
    return (
        f"ftllm-nb {__version__}, model {path}, {threads} {'thread' if threads == 1 else 'threads'}\n"
        "Ctrl-C stops an answer, clear forgets the conversation, stop or Ctrl-D leaves"
    )
