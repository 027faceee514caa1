"""Talk with a model: on a terminal, line by line in a pipe, or one question with -m.

On a terminal, answers appear as they are made. Ctrl-C stops an answer, `clear` forgets the conversation, and
`stop` or Ctrl-D leaves. When input or output is no terminal, each line of input is one turn of the same
conversation, and each answer is printed as plain text with a line end.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import Any

from ftllm_nb import __version__
from ftllm_nb.cli.model_arguments import add_model_arguments, chosen_path, load_model
from ftllm_nb.cli.number_types import real_number, whole_number
from ftllm_nb.errors import UsageError

ALIASES = ("run",)
MAX_SEED = 2**63 - 1
SAMPLING_FLAGS = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb chat`."""
    add_model_arguments(parser)
    add_sampling_arguments(parser)
    group = parser.add_argument_group("conversation")
    group.add_argument(
        "-m", "--message", metavar="TEXT", help="ask this one question, print the answer and leave"
    )
    group.add_argument("--system", metavar="TEXT", help="the system message: how the model is told to behave")


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how the next token is chosen; a flag that is not given leaves the model's own default."""
    group = parser.add_argument_group(
        "sampling", "Flags that are not given follow the model's generation_config.json."
    )
    group.add_argument(
        "--temperature",
        type=real_number(0),
        metavar="X",
        help="how freely tokens are chosen: 0 always takes the likeliest, 1 keeps the model's probabilities",
    )
    group.add_argument(
        "--top_p",
        type=real_number(0, 1, above_low=True),
        metavar="P",
        help="choose among the likeliest tokens that hold this share of the probability; 1 is no limit",
    )
    group.add_argument(
        "--top_k",
        type=whole_number(0),
        metavar="K",
        help="choose among the K likeliest tokens; 0 is no limit",
    )
    group.add_argument(
        "--min_p",
        type=real_number(0, 1),
        metavar="P",
        help="leave out tokens less likely than this share of the likeliest one's probability; 0 is no limit",
    )
    group.add_argument(
        "--repeat_penalty",
        type=real_number(0, above_low=True),
        metavar="X",
        help="make tokens that occurred before less likely when above 1; 1 is no penalty",
    )
    group.add_argument(
        "--seed",
        type=whole_number(0, MAX_SEED),
        metavar="N",
        help="start of the random choices: the same seed gives the same answer (default: another each time)",
    )
    group.add_argument(
        "--max_tokens",
        type=whole_number(1),
        metavar="N",
        help="longest answer in tokens (default: as long as the model's context allows)",
    )


def sampling_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `Model.stream_response`: only the flags that were given."""
    options = {name: getattr(args, name) for name in SAMPLING_FLAGS if getattr(args, name) is not None}
    if args.max_tokens is not None:
        options["max_length"] = args.max_tokens
    return options


def run(args: argparse.Namespace) -> int:
    """Load the model and talk; the exit status."""
    from ftllm_nb.cli.talk.conversation import Conversation
    from ftllm_nb.cli.talk.plain import answer_lines, print_answer
    from ftllm_nb.cli.talk.terminal import talk_on_terminal

    if args.message is not None and not args.message.strip():
        raise UsageError("the text of -m is empty: write the question after it.")
    with closing(load_model(args)) as model:
        conversation = Conversation(model, args.system, sampling_options(args))
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
