"""From logits to the next token id, with the order and the meaning of transformers' `generate`.

Repetition penalty over prompt and answer, OpenAI's presence and frequency penalties and biases, temperature, top_k,
top_p, min_p, softmax, then one draw. The plain form is to sort the whole vocabulary; here only the tokens that can be
drawn are looked at, which top_k and top_p make few: groups of logits are reduced to their maxima, and the k-th largest
of those is a bound that at least k logits reach.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import EngineError

_GROUP = 64
_FIRST_PART = 256

NOT_FINITE = (
    "the model's logits are not finite (NaN or infinity): the weights may be damaged, keys, values or recurrent states "
    "may not fit float16 (--kv_cache_dtype float32 and --state_dtype float32 hold all), or the graph may compute "
    'something else than the model: in a file of --custom, self.Print(data["NAME"]) shows where they begin.'
)


class Sampler:
    """Chooses one answer's tokens, one by one; remembers which ids the prompt and the answer hold."""

    def __init__(self, settings: SamplingSettings, prompt_ids: Iterable[int], vocab_size: int) -> None:
        self._settings = settings
        self._random = np.random.Generator(np.random.PCG64(settings.seed))
        self._is_touched = np.zeros(vocab_size, np.bool_)
        """Ids whose logits penalties or biases change."""
        self._is_seen = np.zeros(vocab_size if settings.repetition_penalty != 1 else 0, np.bool_)
        if self._is_seen.size:
            self._is_seen[list(prompt_ids)] = True
            self._is_touched |= self._is_seen
        has_counts = settings.presence_penalty != 0 or settings.frequency_penalty != 0
        self._counts = np.zeros(vocab_size if has_counts else 0, np.float32)
        biases = [(token_id, bias) for token_id, bias in settings.logit_bias if token_id < vocab_size]
        self._biases = np.zeros(vocab_size if biases else 0, np.float32)
        for token_id, bias in biases:
            self._biases[token_id] += np.float32(bias)
            self._is_touched[token_id] = True
        self._touched = np.flatnonzero(self._is_touched)

    def next_token(
        self,
        logits: NDArray[np.float32],
        allowed: NDArray[np.intp] | None = None,
        forbidden: frozenset[int] = frozenset(),
        largest: int | None = None,
    ) -> int:
        """The next token's id. `logits`: float32 [vocab_size], left as they are; `allowed`: the ids to choose among,
        ascending, at least one; None for all. `forbidden` ids are not taken, unless no other is allowed. `largest`:
        what `Executor.largest` says of the row, None where nobody looked.

        Raises `EngineError` when a logit is NaN or infinite, or when every id is forbidden.
        """
        if largest is None:
            largest = int(logits.argmax()) if np.isfinite(logits).all() else -1
        if largest < 0:
            raise EngineError(NOT_FINITE)
        if allowed is not None and forbidden:
            others = allowed[~np.isin(allowed, list(forbidden))]
            allowed, forbidden = others if others.size else allowed, frozenset()
        if self._settings.is_greedy and allowed is None and not forbidden:
            chosen = self._greedy(logits, largest)
        else:
            chosen = self._choose(logits, allowed, forbidden)
        if self._is_seen.size:
            self._is_seen[chosen] = True
        if self._counts.size:
            self._counts[chosen] += 1
        if (self._is_seen.size or self._counts.size) and not self._is_touched[chosen]:
            self._is_touched[chosen] = True
            self._touched = np.flatnonzero(self._is_touched)
        return chosen

    def _greedy(self, logits: NDArray[np.float32], largest: int) -> int:
        """The likeliest id, without a look at the logits that nothing changes, where the largest is one of those."""
        touched = self._touched
        if not touched.size:
            return largest
        values = self._adjusted(logits, touched)
        if self._is_touched[largest]:
            logits = logits.copy()
            logits[touched] = values
            return int(logits.argmax())
        best = int(values.argmax())
        return min((-values[best], int(touched[best])), (-logits[largest], largest))[1]

    def _choose(
        self, logits: NDArray[np.float32], allowed: NDArray[np.intp] | None, forbidden: frozenset[int]
    ) -> int:
        touched = self._touched
        if touched.size:
            changed = logits.copy()
            changed[touched] = self._adjusted(logits, touched)
            logits = changed
        if forbidden:
            logits = _without(logits, forbidden)
        if allowed is not None:
            logits = logits[allowed]
        if self._settings.is_greedy:
            chosen = int(np.argmax(logits))
        else:
            ids, weights = candidates(logits, self._settings)
            chosen = int(ids[_draw(weights, self._random.random())])
        return chosen if allowed is None else int(allowed[chosen])

    def _adjusted(self, logits: NDArray[np.float32], ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """The logits of some ids with penalties and biases."""
        settings, values = self._settings, logits[ids]
        if self._is_seen.size:
            penalty = np.float32(settings.repetition_penalty)
            penalized = np.where(values < 0, values * penalty, values / penalty)
            values = np.where(self._is_seen[ids], penalized, values)
        if self._counts.size:
            times = self._counts[ids]
            penalties = np.float32(settings.presence_penalty) + np.float32(settings.frequency_penalty) * times
            values = np.where(times > 0, values - penalties, values)
        if self._biases.size:
            values = values + self._biases[ids]
        return values


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


def _without(logits: NDArray[np.float32], forbidden: frozenset[int]) -> NDArray[np.float32]:
    ids = [token_id for token_id in forbidden if 0 <= token_id < logits.size]
    if len(ids) == logits.size:
        raise EngineError("every token of the model ends the answer, so that none can be as long as it must.")
    allowed = logits.copy()
    allowed[ids] = -np.inf
    return allowed


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
