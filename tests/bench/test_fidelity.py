"""Divergences from their definition, and the walk over texts of unequal lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftllm_nb.benchmark.fidelity import compare_executors, kl_divergence, summary
from ftllm_nb.engine.executor import SequenceStep

VOCABULARY = 7


class TableExecutor:
    """Logits are a row of a table, by the token alone; notes which tokens each sequence got."""

    max_step_tokens = 2
    vocab_size = VOCABULARY
    max_positions = 100

    def __init__(self, table: np.ndarray) -> None:
        self.table = table
        self.open: list[list[int]] = []
        self.finished: list[list[int]] = []

    def new_sequence(self) -> Any:
        self.open.append([])
        return self.open[-1]

    def free_sequence(self, sequence: list[int]) -> None:
        self.finished.append(sequence)

    def run(self, steps: list[SequenceStep]) -> np.ndarray:
        assert len(steps) <= self.max_step_tokens
        for step in steps:
            step.sequence.extend(step.token_ids.tolist())
        return self.table[[step.token_ids[-1] for step in steps]]


def divergence(base: np.ndarray, other: np.ndarray) -> float:
    """Σ p · ln(p / q), a term at a time."""
    p = [math.exp(x) for x in base.tolist()]
    q = [math.exp(x) for x in other.tolist()]
    return sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))


def test_divergence_is_that_of_the_definition() -> None:
    random = np.random.default_rng(0)
    base, other = random.standard_normal((2, 5, VOCABULARY)).astype(np.float32)
    expected = [divergence(*rows) for rows in zip(base, other, strict=True)]
    np.testing.assert_allclose(kl_divergence(base, other), expected, rtol=1e-9)
    assert not np.allclose(expected, kl_divergence(other, base)), "which one is the base matters"


def test_divergence_takes_logits_that_exponentials_overflow_on() -> None:
    base = np.array([[1000.0, 0.0]], np.float32)
    np.testing.assert_array_equal(kl_divergence(base, base), [0])
    np.testing.assert_allclose(kl_divergence(base, base[:, ::-1]), [1000])


def test_every_token_of_every_text_is_compared_once() -> None:
    random = np.random.default_rng(1)
    base = TableExecutor(random.standard_normal((VOCABULARY, VOCABULARY)).astype(np.float32))
    other = TableExecutor(random.standard_normal((VOCABULARY, VOCABULARY)).astype(np.float32))
    texts = [[1, 2, 3], [4], [5, 6], [0, 0, 1, 1], [2]]
    result = compare_executors(base, other, texts)
    tokens = [token for text in texts for token in text]
    each = [divergence(base.table[token], other.table[token]) for token in tokens]
    same = [base.table[token].argmax() == other.table[token].argmax() for token in tokens]
    assert base.finished == other.finished == texts
    assert result.positions == len(tokens)
    assert result.mean == pytest.approx(sum(each) / len(each))
    assert result.largest == pytest.approx(max(each))
    assert result.top_1_agreement == pytest.approx(sum(same) / len(same))


def test_percentile() -> None:
    result = summary(np.arange(101.0), np.array([True, False]))
    assert (result.percentile_99, result.largest, result.top_1_agreement) == (99, 100, 0.5)
