"""The flags that say which model to load and how, shared by every command that loads one."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.cli.progress_bar import ProgressBar
from ftllm_nb.cli.value_types import OneOf
from ftllm_nb.errors import UsageError
from ftllm_nb.host_cores import MAX_THREADS
from ftllm_nb.hub import is_model_name

if TYPE_CHECKING:
    from ftllm_nb.llm import Model


def weight_type_names() -> list[str]:
    """The types that weights may have in memory, and auto."""
    from ftllm_nb.quant import weight_formats  # only here: --help does not wait for it

    return ["auto", *weight_formats()]


weight_type = OneOf(weight_type_names)
"""An argparse type: the name of a type of weights, or auto."""


def add_model_arguments(parser: argparse.ArgumentParser, *, reads_text: bool = True) -> None:
    """Declare the flags that `load_model` reads. `reads_text`: whether the command has use for a tokenizer."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "positional_path", nargs="?", metavar="PATH", help="the same as --path, without writing the flag"
    )
    group.add_argument(
        "-p",
        "--path",
        metavar="PATH",
        help="the model: a folder in Hugging Face form, OWNER/NAME on the Hugging Face hub, or demo, the bundled "
        "model; or a GGUF file, on the hub OWNER/NAME:TYPE, as :Q4_K_M; or what llama.cpp, LM Studio or Ollama have "
        "stored, as llama3.2:1b (`ftllm-nb list --local`): a path goes before a store, and that before the hub "
        "(default: demo)",
    )
    group.add_argument(
        "--revision", metavar="NAME", help="of a model on the hub: a branch, tag or commit (default: the newest)"
    )
    add_cache_argument(group)
    add_custom_argument(group)
    if reads_text:
        group.add_argument(
            "--tokenizer",
            metavar="FOLDER",
            help="take the tokenizer, and the chat template if there is one, from this folder in Hugging Face form "
            "(default: the model's own)",
        )
    group.add_argument(
        "--dtype",
        default="auto",
        type=weight_type,
        metavar="TYPE",
        help="type of the weights in memory: auto, float32, float16, bfloat16, int8 or int4 (one scale a row), or "
        "with a scale for each group int8g32, int8g64, int8g128, int4g32, int4g64, int4g128 (also int4g) or int4g256 "
        "(default: auto, the type that the folder holds); or one of ggml's block types: iq4_nl, iq4_xs, q4_1, q4_k, "
        "q5_0, q5_1, q5_k or q6_k, whose scales are searched while the model loads",
    )
    group.add_argument(
        "--embedding_dtype",
        default="auto",
        type=weight_type,
        metavar="TYPE",
        help="type of the embedding and of the matrix that makes logits "
        "(default: auto, as --dtype, but int8g128 where that has 4 bits, or is a block type)",
    )
    group.add_argument(
        "--dtype_config",
        metavar="FILE",
        help="a JSON file of exceptions from --dtype (a list of {\"key\": regular expression of weights' names, "
        '"dtype": type}; later ones win)',
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
        choices=("float16", "float32", "int8", "int4", "int8int4"),
        help="type of the stored keys and values of earlier tokens: float16, float32, int8, int4, or "
        "int8int4: keys in 8 bits and values in 4 (default: float16)",
    )
    group.add_argument(
        "--state_dtype",
        default="float32",
        choices=("float32", "float16"),
        help="type of the matrices that recurrent layers keep of a sequence: float32, or float16, which takes half of "
        "the memory (default: float32)",
    )
    add_threads_argument(group)
    group.add_argument(
        "--pin", action="store_true", help="keep each thread on a core of its own, on systems that let programs choose"
    )
    group.add_argument(
        "--engine",
        default="compiled",
        choices=("compiled", "reference"),
        help="what computes: compiled, the fast kernels, or reference, the slow NumPy definitions of the "
        "operators, to check a graph (default: compiled)",
    )


def add_described_model_arguments(parser: argparse.ArgumentParser, metavar: str, path_help: str) -> None:
    """Declare `PATH`, `--path`, `--revision` and `--cache_dir` of a command that only looks at a model."""
    parser.add_argument("positional_path", nargs="?", metavar=metavar, help="the same as --path, without the flag")
    parser.add_argument("-p", "--path", metavar=metavar, help=path_help)
    parser.add_argument(
        "--revision", metavar="NAME", help="of a model on the hub: a branch, tag or commit (default: the newest)"
    )
    add_cache_argument(parser)


def add_custom_argument(container: argparse._ActionsContainer) -> None:
    """Declare `--custom`, a file that describes the model."""
    container.add_argument(
        "--custom",
        metavar="FILE",
        help="describe the model by this file: Python with a ComputeGraph and __model__, or a graph's JSON",
    )


def add_cache_argument(container: argparse._ActionsContainer) -> None:
    """Declare `--cache_dir`, where models of the hub lie."""
    container.add_argument(
        "--cache_dir",
        metavar="FOLDER",
        help="where models of the hub are kept (default: FASTLLM_CACHEDIR, else the hub's own cache)",
    )


def add_threads_argument(container: argparse._ActionsContainer) -> None:
    """Declare `--threads` on a parser or in a group of its flags."""
    container.add_argument(
        "-t",
        "--threads",
        type=whole_number(1, MAX_THREADS),
        metavar="N",
        help=f"number of threads, 1 to {MAX_THREADS} (default: the physical cores that the process may use)",
    )


def load_model(args: argparse.Namespace) -> Model:
    """The model that the flags name, loaded, with a bar on stderr meanwhile.

    Raises FtllmError for a model that cannot be used, UsageError for flags that contradict each other.
    """
    path = chosen_path(args)
    with ProgressBar() as bar:
        from ftllm_nb import llm

        return llm.model(
            path,
            graph=args.custom,
            tokenizer=args.tokenizer,
            revision=args.revision,
            cache_dir=args.cache_dir,
            **engine_options(args),
            progress=bar.update,
            warn=bar.warn,
        )


ENGINE_OPTIONS = (
    "dtype", "embedding_dtype", "dtype_config", "kv_cache_dtype", "state_dtype", "atype", "threads", "pin", "engine"
)  # fmt: skip


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags that are fields of `EngineOptions`, by name."""
    return {name: getattr(args, name) for name in ENGINE_OPTIONS}


def chosen_path(args: argparse.Namespace) -> str:
    """The model's folder, or `demo`; raises UsageError as `named_path` does."""
    path = named_path(args)
    if path is None:
        path = getattr(args, "preset_path", None)
    return "demo" if path is None else checked_path(path)


def named_path(args: argparse.Namespace) -> str | None:
    """What the command line names a model; None for nothing. Raises UsageError where that is two, or none at all."""
    flag, positional = args.path, args.positional_path
    if flag is not None and positional is not None and flag != positional:
        raise UsageError(f"two models are named, {flag!r} by --path and {positional!r} without: name one.")
    path = flag if flag is not None else positional
    return None if path is None else checked_path(path)


def checked_path(path: str) -> str:
    """The path; raises UsageError for what is likely meant otherwise."""
    if path == "":
        raise UsageError("the path of the model is empty: name a folder, or demo for the bundled model.")
    if path.endswith((".py", ".json")) and os.path.isfile(path):
        raise UsageError(f"{path} is no model's folder: a file that describes a model goes after --custom.")
    if path.startswith(("http://", "https://")):
        raise UsageError(f"{path} is an address: {without_address(path)}")
    return path


def without_address(address: str) -> str:
    """What to write for the address of a model's page."""
    name = "/".join(address.split("/")[3:5])
    return f"write {name} for the model of that name on the hub." if is_model_name(name) else "write OWNER/NAME."
