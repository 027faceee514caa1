"""How far a model's next-token distributions move when its weights are kept in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Fidelity:
    """Over `positions` next-token distributions: KL divergence from the base's, in nats, and the share of positions
    at which both find the same token likeliest.
    """

    positions: int
    mean: float
    percentile_99: float
    largest: float
    top_1_agreement: float


def compare_executors(base: Executor, other: Executor, texts: Sequence[Sequence[int]]) -> Fidelity:
    """Compare the two at every position of texts of token ids, each of which must fit both contexts.

    Both walk side by side, a position of many texts at a time, so that no text's logits need be kept.
    """
    divergences, agreements = [], []
    for ours, theirs in zip(next_token_logits(base, texts), next_token_logits(other, texts), strict=True):
        divergences.append(kl_divergence(ours, theirs))
        agreements.append(ours.argmax(-1) == theirs.argmax(-1))
    return summary(np.concatenate(divergences), np.concatenate(agreements))


def next_token_logits(executor: Executor, texts: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
    """Logits [tokens, vocab_size] of step after step, until each token of each text has had its own.

    What is yielded is overwritten by the next step.
    """
    for first in range(0, len(texts), executor.max_step_tokens):
        batch = texts[first : first + executor.max_step_tokens]
        sequences = [executor.new_sequence() for _ in batch]
        for position in range(max(map(len, batch))):
            yield executor.run(
                [
                    SequenceStep(sequence, np.array([text[position]], np.int32))
                    for sequence, text in zip(sequences, batch, strict=True)
                    if position < len(text)
                ]
            )
        for sequence in sequences:
            executor.free_sequence(sequence)


def kl_divergence(base: Floats, other: Floats) -> NDArray[np.float64]:
    """KL(base ‖ other) in nats of the distributions that logits [rows, vocabulary] stand for; [rows], ≥ 0."""
    log_p, log_q = log_softmax(base), log_softmax(other)
    # Rounding may leave a sum a little below zero.
    return np.asarray(np.maximum((np.exp(log_p) * (log_p - log_q)).sum(-1), 0))


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Logarithms of the probabilities, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def summary(divergences: NDArray[np.float64], agreements: NDArray[np.bool_]) -> Fidelity:
    """What is reported of one value a position."""
    return Fidelity(
        positions=len(divergences),
        mean=float(divergences.mean()),
        percentile_99=float(np.percentile(divergences, 99)),
        largest=float(divergences.max()),
        top_1_agreement=float(agreements.mean()),
    )
