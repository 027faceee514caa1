"""Print how many answers to simple questions change where a model's weights have fewer bits.

Usage: python bench/answers.py MODEL [--dtype int8g32,int4g32] [--also FOLDER_OR_GGUF …] [--theirs q8_0,q4_k_m]

The base answers in float32, greedily, some tokens to each question (bench/simple_questions.py). A contender reads each
question with the base's answer after it: it would have answered the same if and only if, after the question and after
each token of the answer, the answer's next token is its likeliest. So an answer is unchanged where all its tokens are
what the contender would choose, and no contender has to write. `--theirs` lets llama.cpp (in the environment of `make
peers`) quantize the model, and answer with each of these types.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from one_sentence import one_sentence
from simple_questions import simple_questions
from theirs import files

from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.loading import describe, open_executor
from ftllm_nb.tokenizer import Tokenizer, choose_tokenizer

AT_ONCE = 16
"""Answers that are written side by side."""
Choices = Callable[[np.ndarray, int], np.ndarray]
"""From tokens to what a contender would choose after each of the last ones, so many."""
Asked = list[tuple[np.ndarray, np.ndarray]]
"""Of each question its tokens, and those of the answer."""


def main() -> None:
    """Print a row for each contender as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder in Hugging Face form")
    parser.add_argument("--dtype", default="", help="types of weights, separated by commas")
    parser.add_argument("--also", type=Path, action="append", default=[], help="a quantized folder or file; repeatable")
    parser.add_argument("--theirs", default="", help="types that llama.cpp makes of the model, separated by commas")
    parser.add_argument("--kv_cache_dtype", default="float32", help="of our contenders (default: float32)")
    parser.add_argument("--count", type=whole_number(1), default=200, help="questions (default: 200)")
    parser.add_argument("--tokens", type=whole_number(1), default=16, help="of an answer, at most (default: 16)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    arguments = parser.parse_args()
    with opened(arguments.model, "float32", "float32", arguments.threads) as (executor, tokenizer):
        asked = base_answers(executor, tokenizer, simple_questions(arguments.count), arguments.tokens)
    tokens = sum(len(answer) for _, answer in asked)
    print(f"{len(asked)} answers of {tokens:,} tokens in all, greedy, beside float32\n")
    print("| weights | answers changed | tokens that would be others |\n|---|---:|---:|", flush=True)
    for name, path, dtype in (
        *((dtype, arguments.model, dtype) for dtype in filter(None, arguments.dtype.split(","))),
        *((path.name, path, "auto") for path in arguments.also),
    ):
        with opened(path, dtype, arguments.kv_cache_dtype, arguments.threads) as (executor, _):
            print_row(name, asked, lambda ids, last, executor=executor: our_choices(executor, ids, last))
    theirs = list(filter(None, arguments.theirs.split(",")))
    if theirs:
        with tempfile.TemporaryDirectory() as folder:
            for dtype, engine in their_engines(arguments.model, theirs, Path(folder), arguments.threads):
                print_row(f"llama.cpp {dtype}", asked, engine)


class opened:
    """A model in memory, and its tokenizer."""

    def __init__(self, path: Path, dtype: str, kv_cache_dtype: str, threads: int) -> None:
        self._checkpoint = open_checkpoint(path)
        graph = describe(self._checkpoint)
        self._tokenizer = tokenizer_of(self._checkpoint)
        self._executor = open_executor(
            graph, self._checkpoint, WeightTypes(dtype), kv_cache_dtype=kv_cache_dtype, threads=threads
        )

    def __enter__(self) -> tuple[Executor, Tokenizer]:
        return self._executor, self._tokenizer

    def __exit__(self, *_: object) -> None:
        self._executor.close()
        self._checkpoint.close()


def tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    """The model's own."""
    graph = describe(checkpoint)
    return choose_tokenizer(
        checkpoint.path, graph.tokenizer_config, graph.config, graph.generation_config,
        metadata=checkpoint.tokenizer_metadata, embedding_rows=graph.vocab_size, warn=print,
    )  # fmt: skip


def base_answers(executor: Executor, tokenizer: Tokenizer, questions: Sequence[str], tokens: int) -> Asked:
    """What the model says to each question: at most so many tokens, the one that ends it among them."""
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": question}]) for question in questions]
    asked: Asked = []
    for first in range(0, len(prompts), AT_ONCE):
        some = [np.array(prompt, np.int32) for prompt in prompts[first : first + AT_ONCE]]
        sequences = [executor.cache.new_sequence() for _ in some]
        written: list[list[int]] = [[] for _ in some]
        following = [last_logits(executor, sequence, ids) for sequence, ids in zip(sequences, some, strict=True)]
        going = list(range(len(some)))
        while going:
            for at in going:
                written[at].append(int(following[at].argmax()))
            going = [at for at in going if len(written[at]) < tokens and not is_end(tokenizer, written[at])]
            if going:
                steps = [SequenceStep(sequences[at], np.array(written[at][-1:], np.int32)) for at in going]
                for at, row in zip(going, executor.run(steps).copy(), strict=True):
                    following[at] = row
        for sequence in sequences:
            executor.cache.free(sequence)
        asked += [(ids, np.array(answer, np.int32)) for ids, answer in zip(some, written, strict=True)]
    return asked


def is_end(tokenizer: Tokenizer, answer: Sequence[int]) -> bool:
    """Whether an answer's last token ends it."""
    return answer[-1] in tokenizer.eos_token_ids


def last_logits(executor: Executor, sequence: object, ids: np.ndarray) -> np.ndarray:
    """Append tokens; the logits after the last one."""
    for begin in range(0, len(ids), executor.max_step_tokens):
        logits = executor.run([SequenceStep(sequence, ids[begin : begin + executor.max_step_tokens])])
    return logits[-1].copy()


def our_choices(executor: Executor, ids: np.ndarray, last: int) -> np.ndarray:
    """The likeliest token after each of the last ones."""
    sequence, found = executor.cache.new_sequence(), []
    for begin in range(0, len(ids), executor.max_step_tokens):
        part = ids[begin : begin + executor.max_step_tokens]
        wanted = max(1, min(len(part), begin + len(part) - (len(ids) - last)))
        found.append(executor.run([SequenceStep(sequence, part, wanted)]).argmax(-1))
    executor.cache.free(sequence)
    return np.concatenate(found)[-last:]


def print_row(name: str, asked: Asked, choices: Choices) -> None:
    """Let a contender read all answers."""
    changed = others = total = 0
    for question, answer in asked:
        chosen = choices(np.concatenate([question, answer[:-1]]), len(answer))
        changed += bool((chosen != answer).any())
        others += int((chosen != answer).sum())
        total += len(answer)
    print(f"| {name} | {changed} | {others / total:.1%} |", flush=True)


def their_engines(model: Path, dtypes: Sequence[str], folder: Path, threads: int) -> Iterator[tuple[str, Choices]]:
    """llama.cpp with the model in each type, rounded by itself."""
    made = files(model, dtypes, folder, threads)
    next(made)  # the floats
    from engines import llama
    from subject import Subject

    for dtype, file in made:
        with closing(llama.Engine(Subject(gguf=str(file)), threads, folder)) as engine:

            def choices(ids: np.ndarray, last: int, engine: llama.Engine = engine) -> np.ndarray:
                engine.clear()
                found: np.ndarray = engine.all_logits(ids, last).argmax(-1)
                return found

            yield dtype, choices


if __name__ == "__main__":
    with one_sentence():
        main()
