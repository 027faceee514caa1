"""Print how far each weight format moves a model's next-token distributions from those of float32 weights.

Usage: python bench/fidelity.py [-p PATH] [--dtype TYPE,TYPE…] [--also PATH] [--count 20] [--answers] [-t THREADS]
                                [--json]

As `ftllm-nb perplexity --base float32`, but over the demo model's held-out questions with their right answers, in the
model's chat format: over every token, questions included, or with --answers over those of the answers alone, which are
all that the model writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from one_sentence import one_sentence

from ftllm_nb.benchmark.passages import Passage
from ftllm_nb.benchmark.perplexity import (
    Material,
    Settings,
    base_contender,
    contenders,
    run_perplexity,
)
from ftllm_nb.benchmark.perplexity_report import as_json, as_table
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine_options import EngineOptions
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
    parser.add_argument("--count", type=whole_number(1), default=20, help="held-out questions a skill (default: 20)")
    parser.add_argument("--answers", action="store_true", help="judge the tokens of the answers alone")
    parser.add_argument("-t", "--threads", type=whole_number(1), help="threads (default: as for chat)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    settings = Settings(
        contenders=contenders(arguments.path, arguments.dtype, arguments.also, "float32"),
        base=base_contender(arguments.path, "float32"),
        options=EngineOptions(
            threads=arguments.threads,
            embedding_dtype=arguments.embedding_dtype,
            dtype_config=arguments.dtype_config,
        ),
    )
    result = run_perplexity(
        settings,
        lambda model: held_out_questions(model, arguments.count, arguments.answers),
        progress=lambda *_: None,
        warn=warn_on_stderr,
    )
    print(json.dumps(as_json(result), indent=2) if arguments.json else as_table(result))


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
