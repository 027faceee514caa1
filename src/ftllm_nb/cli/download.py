"""Download a model from the Hugging Face hub into its cache, and print the folder (of a GGUF file, its path).

Only the files that are needed are fetched. A connection that breaks is taken up again where it ended.
"""

from __future__ import annotations

import argparse

from ftllm_nb.cli.model_arguments import add_cache_argument, checked_path
from ftllm_nb.cli.system_limits import HUB
from ftllm_nb.errors import UsageError

NEED = HUB
GROUP = "Models"
EXAMPLES = (
    "ftllm-nb download Qwen/Qwen2.5-0.5B-Instruct",
    "ftllm-nb download Qwen/Qwen2.5-0.5B-Instruct --revision main --cache_dir /data/models",
    "ftllm-nb download Qwen/Qwen3-4B-GGUF:Q4_K_M",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb download`."""
    parser.add_argument(
        "name",
        metavar="OWNER/NAME",
        help="the model's name on the hub; OWNER/NAME:TYPE for one of its GGUF files, as :Q4_K_M",
    )
    parser.add_argument(
        "--revision", metavar="NAME", help="of a model on the hub: a branch, tag or commit (default: the newest)"
    )
    add_cache_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch; the exit status."""
    from ftllm_nb.checkpoint.recognise import refuse_foreign_folder
    from ftllm_nb.cli.progress_bar import ProgressBar
    from ftllm_nb.hub import fetch_model, is_model_name

    if args.name == "demo":
        raise UsageError("the model demo comes with ftllm-nb: there is nothing to download.")
    if not is_model_name(checked_path(args.name)):
        raise UsageError(f"{args.name!r} is no name on the hub: OWNER/NAME is expected, as Qwen/Qwen2.5-0.5B-Instruct.")
    print(fetch_model(args.name, args.revision, args.cache_dir, ProgressBar().warn, refuse_foreign_folder))
    return 0
