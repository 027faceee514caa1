"""List the models that were downloaded, with their sizes and when they were used.

Each of them can be named where a command takes a model. With --local also those in the stores of other tools: of
Ollama, LM Studio and llama.cpp, by the names that these give them. They run in place: nothing is copied.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.cli.model_arguments import add_cache_argument
from ftllm_nb.cli.system_limits import LITTLE

if TYPE_CHECKING:
    from pathlib import Path

    from ftllm_nb.hub import CachedModel

NEED = LITTLE
GROUP = "Models"
EXAMPLES = ("ftllm-nb list", "ftllm-nb list --local", "ftllm-nb list --cache_dir /data/models")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb list`."""
    parser.add_argument(
        "--local", action="store_true", help="list what the stores of other tools hold, too"
    )
    add_cache_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print; the exit status."""
    from ftllm_nb.hub import cache_folder, cached_models

    folder = cache_folder(args.cache_dir)
    models = cached_models(args.cache_dir)
    if args.local:
        return list_stores(folder, models)
    if not models:
        print(f"no models in {folder}")
        return 0
    width = max(len(model.name) for model in models)
    for model in models:
        day = time.strftime("%Y-%m-%d", time.localtime(model.used))
        print(f"{model.name:{width}}  {shown_bytes(model.size):>11}  used {day}")
    return 0


def list_stores(folder: Path, cached: list[CachedModel]) -> int:
    """Print the hub's cache and all stores, a line a model; the exit status."""
    from ftllm_nb.stores import stores
    from ftllm_nb.stores.store import StoredModel
    from ftllm_nb.terminal_text import one_printable_line

    models = [StoredModel("Hugging Face", each.name, folder, each.size, each.used) for each in cached]
    models += [model for store in stores() for model in store.models()]
    if not models:
        looked = [str(folder), *(str(place) for store in stores() for place in store.folders())]
        print(f"no models in {', '.join(looked)}")
        return 0
    width = max(len(model.name) for model in models)
    for model in models:
        day = time.strftime("%Y-%m-%d", time.localtime(model.changed))
        about = f"cannot be used: {model.problem}" if model.problem else f"{shown_bytes(model.size):>11}  {day}"
        print(one_printable_line(f"{model.name:{width}}  {model.store:12}  {about}"))
    return 0
