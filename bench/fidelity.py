"""Print how far each weight format moves a model's next-token distributions from those of float32 weights.

Usage: python bench/fidelity.py [-p PATH] [--dtype TYPE,TYPE…] [--also PATH] [--text FILE] [--windows 20] [--window 512]
                                [--theirs TYPE,TYPE…] [--imatrix FILE] [--count 20] [--answers] [--engine NAME]
                                [-t THREADS] [--json]

A real model is judged over windows of a text, one after the other, that it was not calibrated with (bench/texts.py
makes one; bench/off_grid.py makes models whose float weights a quantized file has not left on its grid):

    python bench/fidelity.py -p off-grid --text test.txt --dtype int8g32,int4g32 --also folder-of-quantize

Without --text it is the demo model's held-out questions with their right answers, in the model's chat format: over
every token, questions included, or with --answers over those of the answers alone, which are all that it writes.

With --theirs, llama.cpp rounds the same floats to types of its own, with --imatrix by such a file as `llama-imatrix` or
`ftllm-nb quantize -o FILE.imatrix` writes, and is compared with what it makes of the floats itself, over the same
tokens: run this with the Python of `make peers` then.

`without embedding` counts the bits of all but the embedding and the matrix that makes logits. Errors are standard
errors of the mean, from how windows, or questions, differ. `--engine reference` leaves activations float32, so that
weights alone are judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from one_sentence import one_sentence
from theirs import installed, row_name, rows

from ftllm_nb.benchmark.passages import Passage
from ftllm_nb.benchmark.perplexity import (
    Material,
    Result,
    Row,
    Settings,
    base_contender,
    contenders,
    run_perplexity,
    windows_of_text,
)
from ftllm_nb.benchmark.perplexity_report import as_json
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine_options import EngineOptions, engines
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import LoadedModel, warn_on_stderr

FORMATS = "bfloat16,int8,int8g32,int8g128,int4,int4g32,int4g64,int4g128"
DEMO_SCRIPTS = Path(__file__).parents[1] / "examples" / "demo_model"


def main() -> None:
    """Compare the formats one by one with float32."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--path", default="demo", help="the model (default: the bundled one)")
    parser.add_argument("--dtype", default=FORMATS, help=f"formats (default: {FORMATS})")
    parser.add_argument("--also", action="append", default=[], help="another folder, in the type it has; repeatable")
    parser.add_argument("--embedding_dtype", default="auto", help="as for chat, of all but the base")
    parser.add_argument("--dtype_config", help="a file of exceptions, as for chat, of all but the base")
    parser.add_argument("--kv_cache_dtype", default="float32", help="of all but the base (default: float32)")
    parser.add_argument("--theirs", default="", help="types of llama.cpp's, as q4_0,q4_k_m; needs --text")
    parser.add_argument("--imatrix", type=Path, help="how much each input counts where llama.cpp rounds")
    parser.add_argument("--text", help="judge windows of this UTF-8 text instead of the demo model's questions")
    parser.add_argument("--window", type=whole_number(2), default=512, help="tokens of a window (default: 512)")
    parser.add_argument("--windows", type=whole_number(1), default=20, help="windows of the text (default: 20)")
    parser.add_argument("--engine", default="compiled", choices=engines(), help="what runs all (default: compiled)")
    parser.add_argument("--count", type=whole_number(1), default=20, help="held-out questions a skill (default: 20)")
    parser.add_argument("--answers", action="store_true", help="judge the tokens of the answers alone")
    parser.add_argument("-t", "--threads", type=whole_number(1), help="threads (default: as for chat)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    settings = Settings(
        contenders=contenders(arguments.path, arguments.dtype, arguments.also, arguments.kv_cache_dtype),
        base=base_contender(arguments.path, "float32"),
        options=EngineOptions(
            threads=arguments.threads,
            embedding_dtype=arguments.embedding_dtype,
            dtype_config=arguments.dtype_config,
            engine=arguments.engine,
        ),
    )
    theirs = list(filter(None, arguments.theirs.split(",")))
    if theirs and arguments.text is None:
        raise UsageError("--theirs reads windows of a text: name one by --text.")
    if theirs:
        installed()
    if arguments.text is None:

        def material(model: LoadedModel) -> Material:
            return held_out_questions(model, arguments.count, arguments.answers)
    else:
        material = windows_of_text(arguments.text, arguments.window, arguments.window, arguments.windows)
    read: list[Passage] = []

    def noted(model: LoadedModel) -> Material:
        made = material(model)
        read.extend(made.passages)
        return made

    print_rows = None
    if not arguments.json:
        print_rows = TablePrinter(
            [*(row.name for row in settings.contenders), *(row_name(each, arguments.imatrix) for each in theirs)]
        )
    result = run_perplexity(
        settings, noted, progress=lambda *_: None, warn=warn_on_stderr, so_far=print_rows or (lambda _: None)
    )
    for row in rows(Path(arguments.path), theirs, read, arguments.threads, arguments.imatrix):
        result.rows.append(row)
        if print_rows is not None:
            print_rows(result)
    if arguments.json:
        print(json.dumps(as_json(result), indent=2))


class TablePrinter:
    """Prints each row of a table as soon as it is known."""

    def __init__(self, names: Sequence[str]) -> None:
        self.width = max(7, *map(len, names))

    def __call__(self, result: Result) -> None:
        """Print the newest row, the head before the first."""
        if len(result.rows) == 1:
            print(f"{result.over}; KL divergence from {result.base}, in nats\n")
            print(f"| {'weights':{self.width}} |  bits | without embedding | perplexity |            mean KL | top-1 |")
            print(f"|{'-' * (self.width + 2)}|------:|------------------:|-----------:|-------------------:|------:|")
        print(self.line(result.rows[-1]), flush=True)

    def line(self, row: Row) -> str:
        """A row of the table."""
        divergence, agreement = "base", ""
        if row.fidelity is not None:
            divergence = f"{row.fidelity.mean:.2g} ± {row.fidelity.standard_error:.1g}"
            agreement = f"{row.fidelity.top_1_agreement:.3f}".lstrip("0")
        return (
            f"| {row.name:{self.width}} | {row.bits_a_weight:5.2f} | {row.layer_bits_a_weight:17.2f} "
            f"| {row.score.perplexity:10.4g} | {divergence:>18} | {agreement:>5} |"
        )


def held_out_questions(model: LoadedModel, count: int, answers_alone: bool) -> Material:
    """The demo model's held-out questions with their answers, rendered as the model's own chat."""
    tokenizer = model.tokenizer
    if not tokenizer.has_chat_format:
        raise UsageError("the model has no chat format to put questions in: use ftllm-nb perplexity with a text.")
    sys.path.append(str(DEMO_SCRIPTS))
    from corpus import SKILLS, held_out_checks

    passages = []
    for check in (check for skill in SKILLS for check in held_out_checks(skill, count)):
        question = tokenizer.apply_chat_template(check.messages)
        messages = [*check.messages, {"role": "assistant", "content": check.answer}]
        whole = tokenizer.apply_chat_template(messages, add_generation_prompt=False)
        if whole[: len(question)] != question:
            raise UsageError("the chat format changes a question that is followed by its answer.")
        while whole[-1] not in tokenizer.eos_token_ids:  # a template's line end after it is never asked for
            whole.pop()
        passages.append(Passage(np.array(whole, np.int32), len(question) if answers_alone else 1))
    made = Material(passages, "")
    of = "of the answers" if answers_alone else ""
    return Material(passages, " ".join(f"{made.num_tokens} tokens {of} of {len(passages)} held-out questions".split()))


if __name__ == "__main__":
    with one_sentence():
        main()
