"""Print how long the first token of each turn of a conversation takes, and of one that is edited in its middle.

Usage: python bench/conversation.py [--config CONFIG.json | -p MODEL] [--dtype int4g32] [--layers N] [-t 2]
                                    [--turns 20] [--question 250] [--answer 50] [--edit 10]

A turn's time is measured as a session has it: all messages are given again, and what is known is found. "alone" is what
the turn's own tokens take a sequence that is as long already, without a session: × of that is what keeping the
conversation costs. Then a turn is asked anew with another question, as when a message is edited. A model with recurrent
layers can go on only from where their states were kept, so that some of what was before may be computed again, up to
the distance of kept states.

Without -p the model is random, by default of Qwen3.5-0.8B's shape, and tokens are random, too. Beside it llama.cpp
keeps a conversation as llama-cpp-python does, where that is installed (`make peers`) and knows the model: it goes on
from what both have in common, or begins anew where it cannot cut back to that. Everything is in one process and takes
turns; × are medians over turns.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from engines.ours import EMBEDDING
from one_sentence import one_sentence
from subject import Subject

from ftllm_nb.benchmark.cpu_name import cpu_name
from ftllm_nb.benchmark.run import Settings, model_name, open_weights, random_config
from ftllm_nb.benchmark.speed_test import time_steps
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.kept_sequence import common_prefix
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.session import Session
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import describe, open_executor

CONFIG = Path(__file__).parent / "configs" / "qwen3.5-0.8b.json"
DTYPE = "int4g32"
PAUSE_SECONDS = 0.1
"""Between two turns: threads of the one that is done spin for a while before they sleep."""


class First(NamedTuple):
    """An answer's first token: seconds until it was there, and how many tokens were computed for it."""

    seconds: float
    computed: int


def main() -> None:
    """Hold a conversation, print a row for each turn, then edit one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--path", help="a model with weights: a folder, a GGUF file, a name on the hub, demo")
    parser.add_argument("--config", default=str(CONFIG), help="of a random model (default: Qwen3.5-0.8B's)")
    parser.add_argument("--dtype", help=f"weight format (default: {DTYPE}, with -p the model's own)")
    parser.add_argument("--layers", type=whole_number(1), help="of a random model only so many (default: all)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("--turns", type=whole_number(1), default=20, help="questions and answers (default: 20)")
    parser.add_argument("--question", type=whole_number(1), default=250, help="tokens of each (default: 250)")
    parser.add_argument("--answer", type=whole_number(1), default=50, help="tokens of each (default: 50)")
    parser.add_argument("--edit", type=whole_number(1), help="the turn that is asked anew (default: the middle one)")
    arguments = parser.parse_args()
    edited = arguments.edit or (arguments.turns + 1) // 2
    if edited > arguments.turns:
        raise UsageError(f"--edit {edited} is no turn of {arguments.turns}.")
    dtype = arguments.dtype or ("auto" if arguments.path else DTYPE)
    settings = Settings(path=arguments.path, options=EngineOptions(dtype=dtype))
    if arguments.path is None:
        settings = replace(settings, random=True, random_config=arguments.config, layers=arguments.layers)
    total = arguments.turns * (arguments.question + arguments.answer)
    with closing(Ours(settings, arguments.threads, total)) as ours:
        theirs = open_llama(settings, arguments.threads, total)
        name = f"{model_name(settings)}{f', {settings.layers} layers' if settings.layers else ''}"
        print(f"{name}, {dtype}, {cpu_name()}, {arguments.threads} threads, {datetime.date.today()}\n")
        converse(ours, theirs, arguments.turns, arguments.question, arguments.answer, edited)


def converse(ours: Ours, theirs: Theirs | None, turns: int, question: int, answer: int, edited: int) -> None:
    """Print the table, and what the edit costs."""
    random = np.random.default_rng(0)
    ids: list[int] = []
    ratios: dict[str, list[float]] = {"alone": [], "llama.cpp": []}
    print("| turn | tokens before | new | first token, ms | alone | × | llama.cpp | × |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    kept: list[int] = []
    for turn in range(1, turns + 1):
        before = len(ids)
        if turn == edited:
            kept = list(ids)
            ours.mark(ids)
        ids += random.integers(0, ours.vocab_size, question).tolist()
        alone = ours.alone(ids, before)
        own, answered = ours.ask(ids, answer)
        row = [f"{turn}", f"{before}", f"{own.computed}", *beside(own, alone, ratios["alone"])]
        if theirs is not None:
            row += beside(own, theirs.ask(ids), ratios["llama.cpp"])[1:]
            theirs.hear(answered)
        print(f"| {' | '.join(row + ['-'] * (8 - len(row)))} |", flush=True)
        ids += answered
    medians = [f"{name} {statistics.median(values):.2f}" for name, values in ratios.items() if values]
    print(f"\nmedians of ×: {', '.join(medians)}\n")

    asked = [*kept, *random.integers(0, ours.vocab_size, question).tolist()]
    alone = ours.alone(asked, len(kept))
    own, _ = ours.ask(asked, 1)
    spacing = f"; states are kept every {ours.spacing} tokens" if ours.spacing else ""
    print(f"Turn {edited} of {turns} edited, {len(kept)} tokens before it: {own.computed} tokens computed in")
    print(f"{own.seconds:.2f} s, where {alone.computed} are new, {alone.seconds:.2f} s{spacing}.")
    if theirs is not None:
        first = theirs.ask(asked)
        print(f"llama.cpp: {first.computed} tokens computed in {first.seconds:.2f} s.")


def beside(own: First, other: First, ratios: list[float]) -> list[str]:
    """Cells of a row: our time and another's, in ms, and ours by the other's."""
    ratios.append(own.seconds / other.seconds)
    return [f"{1000 * own.seconds:.0f}", f"{1000 * other.seconds:.0f}", f"{ratios[-1]:.2f}"]


class Ours:
    """A model of ours, a session with it, and a sequence that goes the same way without one."""

    def __init__(self, settings: Settings, threads: int, most_tokens: int) -> None:
        dtype = settings.options.dtype
        with open_weights(settings) as checkpoint:
            types = WeightTypes(dtype, EMBEDDING.get(dtype, "auto"))
            executor = open_executor(describe(checkpoint), checkpoint, types, threads=threads)
        self._engine = EngineThread(executor)
        if most_tokens > executor.max_positions:
            self.close()
            raise UsageError(
                f"the conversation has {most_tokens} tokens, but the model's context holds {executor.max_positions}: "
                "choose fewer --turns, or smaller numbers for --question and --answer."
            )
        self._session = Session(self._engine)
        self._sequence: CachedSequence = executor.cache.new_sequence()
        self.vocab_size = executor.vocab_size
        self.spacing = executor.cache.states.spacing if executor.cache.states.exist else 0
        Session(self._engine).logits([1] * executor.max_step_tokens)  # pages and caches are as in any later step

    def close(self) -> None:
        """Give the model's memory back."""
        self._engine.close()

    def ask(self, ids: list[int], answer: int) -> tuple[First, list[int]]:
        """The answer, and its first token's time."""
        time.sleep(PAUSE_SECONDS)
        started = time.perf_counter()
        tokens = self._session.generate(ids, SamplingSettings(max_tokens=answer))
        answered = [next(tokens)]
        seconds = time.perf_counter() - started
        answered += tokens
        assert self._session.stats is not None
        return First(seconds, self._session.stats.prefill_tokens), answered

    def mark(self, ids: list[int]) -> None:
        """Let `alone` come back to here."""
        self._engine.call(lambda executor: self._go_on(executor, ids[:-1]))
        self._engine.call(lambda executor: executor.cache.save(self._sequence, self._sequence.length))

    def alone(self, ids: list[int], before: int) -> First:
        """Time and number of what is new after so many tokens, and the last one of those, which no answer has run."""
        known = max(0, before - 1)

        def run(executor: Executor) -> float:
            if known < self._sequence.length:
                executor.cache.truncate(self._sequence, known)
            self._go_on(executor, ids[:known])
            time.sleep(PAUSE_SECONDS)
            return self._go_on(executor, ids)

        return First(self._engine.call(run), len(ids) - known)

    def _go_on(self, executor: Executor, ids: list[int]) -> float:
        rest = np.array(ids[self._sequence.length :], np.int32)
        return time_steps(executor, [self._sequence], rest, executor.max_step_tokens)


class Theirs:
    """A sequence of llama.cpp's, kept as llama-cpp-python keeps it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._ids: list[int] = []

    def ask(self, ids: list[int]) -> First:
        """The time of what is not known yet. What was answered since the last question is appended before."""
        time.sleep(PAUSE_SECONDS)
        started = time.perf_counter()
        common = common_prefix(self._ids, ids[:-1])
        if common < len(self._ids) and not self._engine.cut(common):
            self._engine.clear()
            common = 0
        self._engine.step(np.array(ids[common:], np.int32))
        self._ids = list(ids)
        return First(time.perf_counter() - started, len(ids) - common)

    def hear(self, answered: list[int]) -> None:
        """Append an answer but for its last token, which no engine runs."""
        if len(answered) > 1:
            self._engine.step(np.array(answered[:-1], np.int32))
            self._ids += answered[:-1]


def open_llama(settings: Settings, threads: int, most_tokens: int) -> Theirs | None:
    """llama.cpp with the same model; None, and a sentence, where it is not installed or cannot run it."""
    dtype, file = settings.options.dtype, settings.path
    try:
        module = importlib.import_module("engines.llama")
        why = f"its context here holds {module.CONTEXT} tokens." if most_tokens > module.CONTEXT else ""
        if file is not None and not Path(file).is_file():
            why = why or "it reads GGUF files, and this is none."
        with tempfile.TemporaryDirectory() as folder:
            subject = Subject(gguf=file or "")
            if file is None:
                config = Path(folder) / "config.json"
                config.write_text(json.dumps(random_config(settings)))
                subject = Subject(config=str(config), dtype=dtype)
            if not why and not module.type_of(subject):
                why = f"it has no type as {dtype}."
            if not why:
                return Theirs(module.Engine(subject, threads, Path(folder)))
    except ModuleNotFoundError as error:
        why = f"{error.name} is not installed."
    except SystemExit as error:
        why = str(error)
    print(f"llama.cpp is left out: {why}\n")
    return None


if __name__ == "__main__":
    with one_sentence():
        main()
