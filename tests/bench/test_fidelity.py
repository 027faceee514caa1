"""Divergences and likelihoods from their definitions, and the walk over passages of unequal lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from ftllm_nb.benchmark import fidelity
from ftllm_nb.benchmark.fidelity import compare, divergence, judge, log_softmax, summary
from ftllm_nb.benchmark.passages import Passage
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import SequenceStep

VOCABULARY = 7
PASSAGES = [
    Passage(np.array([1, 2, 3], np.int32)),
    Passage(np.array([5, 6], np.int32)),
    Passage(np.array([0, 0, 1, 1, 4, 2, 3], np.int32), first=4),
    Passage(np.array([2, 2, 0, 6, 5], np.int32), first=2),
]


class TableExecutor:
    """Logits are a row of a table, by the token alone; notes which tokens each sequence got."""

    max_step_tokens = 2
    vocab_size = VOCABULARY
    max_positions = 100

    def __init__(self, seed: int) -> None:
        self.table = np.random.default_rng(seed).standard_normal((VOCABULARY, VOCABULARY)).astype(np.float32)
        self.finished: list[list[int]] = []
        self.rows = 0

    @property
    def cache(self) -> Any:
        return self

    def new_sequence(self) -> Any:
        return []

    def free(self, sequence: list[int]) -> None:
        self.finished.append(sequence)

    def run(self, steps: list[SequenceStep]) -> np.ndarray:
        assert sum(len(step.token_ids) for step in steps) <= self.max_step_tokens
        rows = []
        for step in steps:
            step.sequence.extend(step.token_ids.tolist())
            rows += step.token_ids.tolist()[len(step.token_ids) - step.wants_logits :]
        self.rows += len(rows)
        return self.table[rows]

    def request_stop(self) -> None: ...
    def clear_stop(self) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def tables() -> Iterator[tuple[TableExecutor, TableExecutor]]:
    yield TableExecutor(1), TableExecutor(2)


def probabilities(logits: np.ndarray) -> list[float]:
    """A softmax, a term at a time."""
    terms = [math.exp(x) for x in logits.tolist()]
    return [term / sum(terms) for term in terms]


def divergence_of(base: np.ndarray, other: np.ndarray) -> float:
    """Σ p · ln(p / q), a term at a time."""
    return sum(p * math.log(p / q) for p, q in zip(probabilities(base), probabilities(other), strict=True))


def judged() -> Iterator[tuple[int, int]]:
    """(token before, token) of every token that counts."""
    for passage in PASSAGES:
        for at in range(passage.first, len(passage.token_ids)):
            yield int(passage.token_ids[at - 1]), int(passage.token_ids[at])


def test_divergence_is_that_of_the_definition() -> None:
    base, other = np.random.default_rng(0).standard_normal((2, 5, VOCABULARY)).astype(np.float32)
    expected = [divergence_of(*rows) for rows in zip(base, other, strict=True)]
    np.testing.assert_allclose(divergence(log_softmax(base), log_softmax(other)), expected, rtol=1e-9)
    assert not np.allclose(expected, divergence(log_softmax(other), log_softmax(base))), "the base is the first"


def test_divergence_takes_logits_that_exponentials_overflow_on() -> None:
    base, other = log_softmax(np.array([[[1000.0, 0.0]], [[0.0, 1000.0]]], np.float32))
    np.testing.assert_array_equal(divergence(base, base), [0])
    np.testing.assert_allclose(divergence(base, other), [1000])


@pytest.mark.parametrize("rows_at_once", [1, 2, 16])
def test_every_judged_token_counts_once(
    tables: tuple[TableExecutor, TableExecutor], monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(fidelity, "ROWS_AT_ONCE", rows_at_once)
    base, other = tables
    reported: list[tuple[int, int]] = []
    with closing(EngineThread(base)) as base_engine, closing(EngineThread(other)) as engine:
        score, result = compare(base_engine, engine, PASSAGES, lambda done, total: reported.append((done, total)))
        alone = judge(engine, PASSAGES)
    each = [divergence_of(base.table[before], other.table[before]) for before, _ in judged()]
    same = [base.table[before].argmax() == other.table[before].argmax() for before, _ in judged()]
    surprise = [-math.log(probabilities(other.table[before])[token]) for before, token in judged()]
    expected = math.exp(sum(surprise) / len(surprise))
    assert base.finished == [passage.token_ids[:-1].tolist() for passage in PASSAGES]
    assert base.rows == len(each), "logits of context are not asked for"
    assert result.positions == score.tokens == len(each)
    assert result.mean == pytest.approx(sum(each) / len(each))
    assert result.largest == pytest.approx(max(each))
    assert result.top_1_agreement == pytest.approx(sum(same) / len(same))
    ends = np.cumsum([passage.num_judged for passage in PASSAGES])
    sums = [sum(passage) - len(passage) * result.mean for passage in np.split(np.array(each), ends[:-1])]
    assert result.standard_error == pytest.approx(math.sqrt(4 / 3 * sum(x * x for x in sums)) / len(each))
    assert score.perplexity == pytest.approx(expected) == alone.perplexity
    assert score.standard_error == pytest.approx(expected * np.std(surprise, ddof=1) / math.sqrt(len(each)))
    assert score.tokens_per_s > 0
    assert reported[-1] == (len(each), len(each))


def test_percentile() -> None:
    result = summary([np.arange(101.0)], np.array([True, False]))
    assert result.standard_error == pytest.approx(np.arange(101.0).std(ddof=1) / math.sqrt(101))
    assert (result.percentile_99, result.largest, result.top_1_agreement) == (99, 100, 0.5)
