"""From logits to the next token id, with the order and the meaning of transformers' `generate`.

Repetition penalty over prompt and answer, OpenAI's presence and frequency penalties and biases, temperature, top_k,
top_p, min_p, softmax, then one draw. The plain form is to sort the whole vocabulary; here only the tokens that can be
drawn are looked at, which top_k and top_p make few: groups of logits are reduced to their maxima, and the k-th largest
of those is a bound that at least k logits reach.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import EngineError

_GROUP = 64
_FIRST_PART = 256


class Sampler:
    """Chooses one answer's tokens, one by one; remembers which ids the prompt and the answer hold."""

    def __init__(self, settings: SamplingSettings, prompt_ids: Iterable[int], vocab_size: int) -> None:
        self._settings = settings
        self._random = np.random.Generator(np.random.PCG64(settings.seed))
        self._seen = np.zeros(vocab_size if settings.repetition_penalty != 1 else 0, dtype=np.bool_)
        if self._seen.size:
            self._seen[list(prompt_ids)] = True
        self._counts: Counter[int] = Counter()
        biases = [(token_id, bias) for token_id, bias in settings.logit_bias if token_id < vocab_size]
        self._bias_ids = np.array([token_id for token_id, _ in biases], np.intp)
        self._biases = np.array([bias for _, bias in biases], np.float32)

    def next_token(
        self,
        logits: NDArray[np.float32],
        allowed: NDArray[np.intp] | None = None,
        forbidden: frozenset[int] = frozenset(),
    ) -> int:
        """The next token's id. `logits`: float32 [vocab_size], left as they are; `allowed`: the ids to choose among,
        ascending, at least one; None for all. `forbidden` ids are not taken.

        Raises `EngineError` when a logit is NaN or infinite, or when every id is forbidden.
        """
        _require_finite(logits)
        logits = self._adjusted(logits)
        if forbidden:
            logits = _without(logits, forbidden)
        if allowed is not None:
            logits = logits[allowed]
        if self._settings.is_greedy:
            chosen = int(np.argmax(logits))
        else:
            ids, weights = candidates(logits, self._settings)
            chosen = int(ids[_draw(weights, self._random.random())])
        token_id = chosen if allowed is None else int(allowed[chosen])
        if self._seen.size:
            self._seen[token_id] = True
        self._counts[token_id] += 1
        return token_id

    def _adjusted(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits with penalties and biases; the same array where there are none."""
        settings = self._settings
        if self._seen.size:
            logits = _penalize(logits, np.flatnonzero(self._seen), settings.repetition_penalty)
        if self._counts and (settings.presence_penalty or settings.frequency_penalty):
            ids = np.fromiter(self._counts, np.intp)
            times = np.fromiter(self._counts.values(), np.float32)
            logits = logits.copy()
            logits[ids] -= np.float32(settings.presence_penalty) + np.float32(settings.frequency_penalty) * times
        if self._bias_ids.size:
            logits = logits.copy()
            logits[self._bias_ids] += self._biases
        return logits


def candidates(
    logits: NDArray[np.float32], settings: SamplingSettings
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The ids that can be drawn, and their unnormalized probabilities, float64, where the likeliest has 1.

    Ordered by likelihood, equals by id; by id alone where neither top_k nor top_p is set, since sorting a
    whole vocabulary takes 15 ms. Expects `settings` that sample, at a temperature above 0.
    """
    top = logits.max()
    if 0 < settings.top_k < logits.size:
        ids = _by_likelihood(logits, _at_least_kth(logits, settings.top_k))
        weights = _weights(logits[ids], top, settings.temperature)
        total = float(weights.sum())
    elif settings.top_p < 1:
        ids, weights, total = _likeliest_part(logits, settings)
    else:
        ids = np.arange(logits.size)
        weights = _weights(logits, top, settings.temperature)
    if settings.top_p < 1:
        # A token stays where the likelier ones before it do not reach top_p by themselves; the first always.
        kept = int(np.searchsorted(np.cumsum(weights), settings.top_p * total)) + 1
        ids, weights = ids[:kept], weights[:kept]
    if settings.min_p > 0:
        is_kept = weights >= settings.min_p
        ids, weights = ids[is_kept], weights[is_kept]
    return ids, weights


def _require_finite(logits: NDArray[np.float32]) -> None:
    # NaN passes through min and max, so that two reductions see every kind of non-finite value.
    low, high = float(logits.min()), float(logits.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise EngineError(
            "the model's logits are not finite (NaN or infinity): the weights may be damaged, or the graph "
            "may compute something else than the model; compare with --engine reference."
        )


def _without(logits: NDArray[np.float32], forbidden: frozenset[int]) -> NDArray[np.float32]:
    ids = [token_id for token_id in forbidden if 0 <= token_id < logits.size]
    if len(ids) == logits.size:
        raise EngineError("every token of the model ends the answer, so that none can be as long as it must.")
    allowed = logits.copy()
    allowed[ids] = -np.inf
    return allowed


def _penalize(logits: NDArray[np.float32], seen_ids: NDArray[np.intp], penalty: float) -> NDArray[np.float32]:
    penalized = logits.copy()
    seen = logits[seen_ids]
    penalized[seen_ids] = np.where(seen < 0, seen * np.float32(penalty), seen / np.float32(penalty))
    return penalized


def _by_likelihood(logits: NDArray[np.float32], ids: NDArray[np.intp]) -> NDArray[np.intp]:
    """`ids`, ascending, in the order of falling logits; equals stay in the order of their ids."""
    return ids[np.argsort(-logits[ids], kind="stable")]


def _weights(logits: NDArray[np.float32], top: np.float32, temperature: float) -> NDArray[np.float64]:
    """exp(logit / temperature), scaled so that the logit `top` has the weight 1."""
    with np.errstate(over="ignore"):  # at a tiny temperature, -infinity: the weight 0
        return np.exp((logits.astype(np.float64) - float(top)) / temperature)


def _at_least_kth(logits: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Ascending ids of the logits that reach the k-th largest: k of them, more where equals meet there."""
    groups = logits.size // _GROUP
    if k > groups // 2:
        bound = np.partition(logits, logits.size - k)[logits.size - k]
        return np.flatnonzero(logits >= bound)
    # np.partition(logits, -k) costs ten times this: of the groups' maxima, k reach the k-th largest maximum,
    # so that the k-th largest logit does too.
    maxima = logits[: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
    rough = np.flatnonzero(logits >= np.partition(maxima, groups - k)[groups - k])
    values = logits[rough]
    reach: NDArray[np.intp] = rough[values >= np.partition(values, values.size - k)[values.size - k]]
    return reach


def _likeliest_part(
    logits: NDArray[np.float32], settings: SamplingSettings
) -> tuple[NDArray[np.intp], NDArray[np.float64], float]:
    """The likeliest ids, enough to hold top_p of the probability; their weights; the weight of all ids."""
    top = logits.max()
    total = float(_weights(logits, top, settings.temperature).sum())
    k = _FIRST_PART
    while True:
        whole = k >= logits.size
        ids = _by_likelihood(logits, np.arange(logits.size) if whole else _at_least_kth(logits, k))
        weights = _weights(logits[ids], top, settings.temperature)
        if whole or weights.sum() >= settings.top_p * total:
            return ids, weights, total
        k *= 8


def _draw(weights: NDArray[np.float64], uniform: float) -> int:
    """The index that `uniform`, from [0, 1), falls on when the weights are laid end to end."""
    ends = np.cumsum(weights)
    return min(int(np.searchsorted(ends, uniform * ends[-1], side="right")), weights.size - 1)
