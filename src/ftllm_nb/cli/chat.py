"""Talk with a model: on a terminal, line by line in a pipe, or one question with -m.

On a terminal, answers appear as they are made. Ctrl-C stops an answer, `clear` forgets the conversation, and
`stop` or Ctrl-D leaves. When the input is no terminal, each line is one turn of the same conversation, and each
answer is written out followed by a line end.
"""

from __future__ import annotations

import argparse

from ftllm_nb.cli.model_arguments import add_model_arguments
from ftllm_nb.cli.number_types import real_number, whole_number

ALIASES = ("run",)
MAX_SEED = 2**63 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb chat`."""
    add_model_arguments(parser)
    add_sampling_arguments(parser)
    group = parser.add_argument_group("conversation")
    group.add_argument("-m", "--message", metavar="TEXT", help="ask this one question, print the answer and leave")
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
        help="how freely tokens are chosen: 0 always takes the likeliest, 1 follows the model's probabilities",
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
        help="start of the random choices: the same seed gives the same answer (default: a new one each start)",
    )
    group.add_argument(
        "--max_tokens",
        type=whole_number(1),
        metavar="N",
        help="longest answer in tokens (default: as long as the model's context allows)",
    )


def run(args: argparse.Namespace) -> int:
    """Load the model and talk; the exit status."""
    from ftllm_nb.cli.talk.start import start_talk

    return start_talk(args)
