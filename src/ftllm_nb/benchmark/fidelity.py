"""How well a model predicts texts, and how far its next-token distributions move from those of another.

The other is mostly the same model with its weights in more bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.benchmark.passages import Passage
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor, SequenceStep

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]

CHUNK_TOKENS = 128
"""Tokens of a step: the logits of all of them are in memory at once."""
ROWS_AT_ONCE = 16
"""Rows of logits that are held in double precision at once."""


@dataclass(frozen=True)
class Fidelity:
    """Over `positions` next-token distributions: KL divergence from the base's, in nats, and the share of positions
    at which both find the same token likeliest. `standard_error`: of the mean, from how the passages differ, since
    tokens of one passage go wrong together; of a single passage, from how its tokens do.
    """

    positions: int
    mean: float
    percentile_99: float
    largest: float
    top_1_agreement: float
    standard_error: float


@dataclass(frozen=True)
class Score:
    """`perplexity`: the exponential of the mean negative log-likelihood of `tokens` tokens; `standard_error`: of the
    perplexity, from the spread of the tokens' likelihoods. `tokens_per_s`: how fast texts were read.
    """

    tokens: int
    perplexity: float
    standard_error: float
    tokens_per_s: float


@dataclass
class Reader:
    """Reads passages on an engine; `seconds` that its steps took, for `tokens`."""

    engine: EngineThread
    seconds: float = 0.0
    tokens: int = 0
    log_likelihoods: list[Doubles] = field(default_factory=list)

    def logits(self, passage: Passage) -> Iterator[NDArray[np.float32]]:
        """What foretold the judged tokens: logits [tokens, vocab_size], piece by piece, in their order.

        What is yielded is overwritten by the next piece.
        """
        read = passage.token_ids[:-1]
        executor = self.engine.executor
        size = min(CHUNK_TOKENS, executor.max_step_tokens)
        sequence = self.engine.call(lambda executor: executor.cache.new_sequence())
        try:
            for begin in range(0, len(read), size):
                tokens = read[begin : begin + size]
                wanted = min(len(tokens), begin + len(tokens) - (passage.first - 1))
                step = SequenceStep(sequence, tokens, max(0, wanted))
                started = time.perf_counter()
                logits = self.engine.call(partial(_run, step))
                self.seconds += time.perf_counter() - started
                self.tokens += len(tokens)
                if len(logits):
                    yield logits
        finally:
            self.engine.call(lambda executor: executor.cache.free(sequence))

    def note(self, log_probabilities: Doubles, token_ids: NDArray[np.int32]) -> None:
        """Remember how likely the tokens were that came."""
        self.log_likelihoods.append(log_probabilities[np.arange(len(token_ids)), token_ids])

    @property
    def score(self) -> Score:
        """Of all that was noted."""
        return score_of(np.concatenate(self.log_likelihoods), self.tokens / self.seconds)


def score_of(log_likelihoods: Doubles, tokens_per_s: float) -> Score:
    """The score of tokens of these log-likelihoods."""
    negative = -log_likelihoods
    perplexity = math.exp(min(float(negative.mean()), 700.0))
    spread = float(negative.std(ddof=1)) / math.sqrt(len(negative)) if len(negative) > 1 else math.nan
    return Score(len(negative), perplexity, perplexity * spread, tokens_per_s)


def _run(step: SequenceStep, executor: Executor) -> NDArray[np.float32]:
    return executor.run([step])


Progress = Callable[[int, int], None]
"""progress(tokens judged so far, of how many)."""


def judge(engine: EngineThread, passages: Sequence[Passage], progress: Progress | None = None) -> Score:
    """How well the model predicts the passages."""
    reader = Reader(engine)
    for passage, done in _counted(passages, progress):
        at = 0
        for logits in reader.logits(passage):
            for rows in _few(logits):
                token_ids = passage.token_ids[passage.first + at :][: len(rows)]
                reader.note(log_softmax(rows), token_ids)
                at += len(rows)
                done(at)
    return reader.score


def compare(
    base: EngineThread, other: EngineThread, passages: Sequence[Passage], progress: Progress | None = None
) -> tuple[Score, Fidelity]:
    """The other's score, and how far it is from the base, at every judged token of the passages.

    Both read side by side, so that no text's logits need be kept. Passages must fit both contexts.
    """
    reader, base_reader = Reader(other), Reader(base)
    divergences: list[Doubles] = []
    agreements = []
    for passage, done in _counted(passages, progress):
        at = 0
        here: list[Doubles] = []
        for ours, theirs in zip(base_reader.logits(passage), reader.logits(passage), strict=True):
            for base_rows, rows in zip(_few(ours), _few(theirs), strict=True):
                log_p, log_q = log_softmax(base_rows), log_softmax(rows)
                here.append(divergence(log_p, log_q))
                agreements.append(base_rows.argmax(-1) == rows.argmax(-1))
                reader.note(log_q, passage.token_ids[passage.first + at :][: len(rows)])
                at += len(rows)
                done(at)
        divergences.append(np.concatenate(here))
    return reader.score, summary(divergences, np.concatenate(agreements))


def _counted(
    passages: Sequence[Passage], progress: Progress | None
) -> Iterator[tuple[Passage, Callable[[int], None]]]:
    """Each passage, and what to call with how many of its tokens are judged."""
    total, before = sum(passage.num_judged for passage in passages), 0
    for passage in passages:
        yield passage, partial(_report, progress, before, total)
        before += passage.num_judged


def _report(progress: Progress | None, before: int, total: int, at: int) -> None:
    if progress is not None:
        progress(before + at, total)


def _few(logits: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for begin in range(0, len(logits), ROWS_AT_ONCE):
        yield logits[begin : begin + ROWS_AT_ONCE]


def divergence(log_p: Doubles, log_q: Doubles) -> Doubles:
    """KL(p ‖ q) in nats of distributions [rows, vocabulary], given as logarithms; [rows], ≥ 0."""
    # Rounding may leave a sum a little below zero.
    return np.asarray(np.maximum((np.exp(log_p) * (log_p - log_q)).sum(-1), 0))


def log_softmax(logits: Floats) -> Doubles:
    """Logarithms of the probabilities, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def summary(passages: Sequence[Doubles], agreements: NDArray[np.bool_]) -> Fidelity:
    """What is reported of one value a position: divergences by passage, and whether the likeliest tokens agree."""
    divergences = np.concatenate(passages)
    return Fidelity(
        positions=len(divergences),
        mean=float(divergences.mean()),
        percentile_99=float(np.percentile(divergences, 99)),
        largest=float(divergences.max()),
        top_1_agreement=float(agreements.mean()),
        standard_error=standard_error(passages if len(passages) > 1 else list(divergences.reshape(-1, 1))),
    )


def standard_error(groups: Sequence[Doubles]) -> float:
    """Of the mean of all values, where those of a group belong together; NaN of a single group."""
    if len(groups) < 2:
        return math.nan
    values = np.concatenate(groups)
    off = np.array([(group - values.mean()).sum() for group in groups])
    return float(math.sqrt(len(groups) / (len(groups) - 1) * (off**2).sum()) / len(values))
