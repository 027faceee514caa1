"""The flags that say which model to load and how, shared by every command that loads one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ftllm_nb.cli.number_types import whole_number

if TYPE_CHECKING:
    from ftllm_nb.llm import Model

MAX_THREADS = 1024


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that `load_model` reads."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "positional_path", nargs="?", metavar="PATH", help="the same as --path, without writing the flag"
    )
    group.add_argument(
        "-p",
        "--path",
        metavar="PATH",
        help="the model: a folder in Hugging Face form, or demo, the bundled model (default: demo)",
    )
    group.add_argument(
        "--custom",
        metavar="FILE",
        help="describe the model by this file: Python with a ComputeGraph and __model__, or a graph's JSON",
    )
    group.add_argument(
        "--dtype",
        default="auto",
        metavar="TYPE",
        help="type of the weights in memory: auto, float32, float16 or bfloat16 "
        "(default: auto, the type that the folder holds)",
    )
    group.add_argument(
        "--atype",
        default="auto",
        choices=("auto", "float32", "float16", "bfloat16"),
        help="type of the intermediate values: auto, float32, float16 or bfloat16; they stay float32 "
        "whichever is named (default: auto)",
    )
    group.add_argument(
        "--kv_cache_dtype",
        default="float16",
        choices=("float16", "float32"),
        help="type of the stored keys and values of earlier tokens: float16 or float32 (default: float16)",
    )
    group.add_argument(
        "-t",
        "--threads",
        type=whole_number(1, MAX_THREADS),
        metavar="N",
        help=f"number of threads, 1 to {MAX_THREADS} (default: the physical cores that the process may use)",
    )
    group.add_argument(
        "--engine",
        default="compiled",
        choices=("compiled", "reference"),
        help="what computes: compiled, the fast kernels, or reference, the slow NumPy definitions of the "
        "operators, to check a graph (default: compiled)",
    )
