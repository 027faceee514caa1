"""Compare a model's graph with transformers, value by value, and say where they part.

The graph and the reference read the same texts in float32, at once and token by token. An operator that reads the
weights of a module stands for it: what enters and leaves both must be equal. What is told is the first place where it
is not and what follows differs as well, the line of the file, and, where a change was found that makes it equal, the
likely cause. Exit status: 0 where they are equal, 1 where they part, 2 for wrong use.
"""

from __future__ import annotations

import argparse

from ftllm_nb.cli.model_arguments import (
    add_custom_argument,
    add_described_model_arguments,
    add_threads_argument,
    chosen_path,
)
from ftllm_nb.cli.progress_bar import ProgressBar
from ftllm_nb.cli.value_types import AnyText
from ftllm_nb.errors import UsageError

GROUP = "Models"
EXAMPLES = (
    "ftllm-nb verify ~/Qwen3-0.6B --custom my_qwen3.py",
    "ftllm-nb verify ~/Qwen3-0.6B --save qwen3.npz",
    "ftllm-nb verify ~/Qwen3-0.6B --custom my_qwen3.py --against qwen3.npz",
)
STATUS_PARTS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb verify`."""
    add_described_model_arguments(
        parser,
        "PATH",
        "the model: a folder, a GGUF file, OWNER/NAME on the Hugging Face hub, or demo (default: demo)",
    )
    add_custom_argument(parser)
    parser.add_argument(
        "--against",
        type=AnyText(lambda: ["transformers", "builtin"]),
        metavar="WHAT",
        help="what is right: transformers, which reads the same folder; another folder for it; an .npz file of --save; "
        "or builtin, the architecture's own graph (default: transformers, or builtin where that is not installed)",
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="a text that both read; repeatable (default: some sentences, and tokens by chance)",
    )
    parser.add_argument(
        "--save", metavar="FILE", help="write the reference's values to this .npz file, in float16, for --against"
    )
    parser.add_argument(
        "--engine",
        default="reference",
        choices=("compiled", "reference"),
        help="what computes: compiled compares the logits of the kernels as well, reference those of the operators' "
        "NumPy definitions alone (default: reference)",
    )
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Compare and print; the exit status."""
    if "" in (args.custom, args.against, args.save):
        raise UsageError("the name after --custom, --against or --save is empty.")

    from ftllm_nb.host_cores import default_threads
    from ftllm_nb.verification.run import verify

    path = chosen_path(args)
    with ProgressBar() as bar:
        verdict = verify(
            path,
            custom=args.custom,
            against=args.against,
            prompts=args.prompt,
            save=args.save,
            engine=args.engine,
            threads=args.threads or default_threads(),
            revision=args.revision,
            cache_dir=args.cache_dir,
            progress=bar.update,
            warn=bar.warn,
        )
    print(verdict)
    return 0 if verdict.agrees else STATUS_PARTS
