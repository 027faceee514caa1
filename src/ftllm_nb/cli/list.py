"""List the models that were downloaded, with their sizes and when they were used.

Each of them can be named where a command takes a model.
"""

from __future__ import annotations

import argparse
import time

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.cli.model_arguments import add_cache_argument
from ftllm_nb.cli.system_limits import LITTLE

NEED = LITTLE
GROUP = "Models"
EXAMPLES = ("ftllm-nb list", "ftllm-nb list --cache_dir /data/models")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb list`."""
    add_cache_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print; the exit status."""
    from ftllm_nb.hub import cache_folder, cached_models

    models = cached_models(args.cache_dir)
    if not models:
        print(f"no models in {cache_folder(args.cache_dir)}")
        return 0
    width = max(len(model.name) for model in models)
    for model in models:
        day = time.strftime("%Y-%m-%d", time.localtime(model.used))
        print(f"{model.name:{width}}  {shown_bytes(model.size):>11}  used {day}")
    return 0
