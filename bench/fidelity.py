"""Print how far each weight format moves a model's next-token distributions from those of float32 weights.

Usage: python bench/fidelity.py [-p PATH] [--text FILE] [--dtype TYPE ...] [--count 20] [-t THREADS] [--json]

KL divergences are in nats, from float32's distribution to the format's, over every position of a text: by default
the bundled model's held-out questions with their right answers, in the model's chat format. The KV cache is float32
throughout. Bits a weight count everything that is in memory: scales, and the embedding, which in 4-bit models has 8.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftllm_nb.benchmark.fidelity import compare_executors
from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import FtllmError, UsageError
from ftllm_nb.loading import LoadedModel, load
from ftllm_nb.tokenizer import Tokenizer

BASE = "float32"
FORMATS = ("bfloat16", "int8", "int8g32", "int8g128", "int4", "int4g32", "int4g64", "int4g128")
PIECE_TOKENS = 256
"""A file is read in pieces of so many tokens, which know nothing of each other."""
DEMO_SCRIPTS = Path(__file__).parents[1] / "examples" / "demo_model"


def main() -> None:
    """Compare the formats one by one with the base."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--path", default="demo", help="the model (default: the bundled one)")
    parser.add_argument("--text", metavar="FILE", help="compare over this text (default: the held-out questions)")
    parser.add_argument("--dtype", nargs="+", default=FORMATS, help=f"formats (default: {' '.join(FORMATS)})")
    parser.add_argument("--count", type=int, default=20, help="held-out questions a skill (default: 20)")
    parser.add_argument("-t", "--threads", type=int, help="threads (default: as for chat)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    try:
        rows = measure(arguments)
    except FtllmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps({"model": arguments.path, "base": BASE, "formats": rows}, indent=2) if arguments.json
          else as_table(rows))  # fmt: skip


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a format, the base first."""
    base = open_model(arguments, BASE)
    try:
        texts = read_texts(arguments.text, base.tokenizer, arguments.count)
        rows = [size_row(base, BASE)]
        for dtype in arguments.dtype:
            other = open_model(arguments, dtype)
            try:
                rows.append(size_row(other, dtype) | asdict(compare_executors(base.executor, other.executor, texts)))
            finally:
                close(other)
        return rows
    finally:
        close(base)


def open_model(arguments: argparse.Namespace, dtype: str) -> LoadedModel:
    """The model with its weights in one format."""
    return load(arguments.path, EngineOptions(dtype, kv_cache_dtype="float32", threads=arguments.threads))


def close(model: LoadedModel) -> None:
    """Give everything back."""
    model.executor.close()
    model.checkpoint.close()


def read_texts(file: str | None, tokenizer: Tokenizer, count: int) -> list[list[int]]:
    """Texts to compare over, as token ids."""
    if file is None:
        return held_out_texts(tokenizer, count)
    try:
        ids = tokenizer.encode_text(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise UsageError(f"the text {file} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not ids:
        raise UsageError(f"the text {file} is empty: name one with words in it.")
    return [ids[at : at + PIECE_TOKENS] for at in range(0, len(ids), PIECE_TOKENS)]


def held_out_texts(tokenizer: Tokenizer, count: int) -> list[list[int]]:
    """The demo model's held-out questions with their answers, rendered as the model's own chat."""
    if not tokenizer.has_chat_format:
        raise UsageError("the model has no chat format to put questions in: give --text FILE.")
    sys.path.append(str(DEMO_SCRIPTS))
    from corpus import SKILLS, held_out_checks

    return [
        tokenizer.encode_prompt(
            tokenizer.render_chat(
                [*check.messages, {"role": "assistant", "content": check.answer}], add_generation_prompt=False
            )
        )
        for skill in SKILLS
        for check in held_out_checks(skill, count)
    ]


def size_row(model: LoadedModel, dtype: str) -> dict[str, Any]:
    """What the weights take in memory."""
    size = size_of(model.graph, WeightTypes(dtype))
    bits = 8 * size.weight_bytes / size.parameters
    return {"dtype": dtype, "bits_a_weight": bits, "megabytes": size.weight_bytes / 1e6}


def as_table(rows: list[dict[str, Any]]) -> str:
    """The rows in markdown."""
    base, *others = rows
    lines = [
        f"{others[0]['positions']} positions" if others else "",
        "",
        "| weights  | bits a weight |   MB | mean KL | 99th percentile | largest | same top token |",
        "|----------|--------------:|-----:|--------:|----------------:|--------:|---------------:|",
        f"| {base['dtype']:8} | {base['bits_a_weight']:13.2f} | {base['megabytes']:4.1f} | "
        f"{'base':>7} | {'':15} | {'':7} | {'':14} |",
    ]
    lines += [
        f"| {row['dtype']:8} | {row['bits_a_weight']:13.2f} | {row['megabytes']:4.1f} | {row['mean']:7.1e} "
        f"| {row['percentile_99']:15.1e} | {row['largest']:7.1e} | {row['top_1_agreement']:14.2%} |"
        for row in others
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
