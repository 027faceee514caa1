"""Talk to a model in the browser: a chat page on the server of `ftllm-nb server`, which it offers as well.

Open the address that it prints. Each browser keeps its own conversations, this program keeps none. The page loads
nothing from elsewhere. With --api_key the page asks for the key.
Needs the extra [webui]: pip install 'ftllm-nb[webui]'.
"""

from __future__ import annotations

import argparse

from ftllm_nb.cli.model_arguments import add_model_arguments
from ftllm_nb.cli.server import add_server_arguments, serve, server_options

GROUP = "Talk"
EXAMPLES = (
    "ftllm-nb webui -p ~/Qwen2.5-0.5B-Instruct -t 4 --port 1616",
    'ftllm-nb webui Qwen/Qwen2.5-0.5B-Instruct --dtype int8 --title "Ask me"',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb webui`."""
    add_model_arguments(parser)
    group = parser.add_argument_group("page")
    group.add_argument("--title", default="ftllm-nb", metavar="TEXT", help="the page's title (default: ftllm-nb)")
    add_server_arguments(parser, port=1616)


def run(args: argparse.Namespace) -> int:
    """Serve the page until told to end; the exit status."""
    return serve(args, server_options(args, title=args.title), extra="webui")
