"""A conversation's place in the KV cache, kept from one request to the next so that only what is new runs."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.kv_cache import KVCache


class KeptSequence:
    """One sequence and the token ids that it holds, while no request runs in it. Used on the engine thread only."""

    def __init__(self) -> None:
        self._sequence: CachedSequence | None = None
        self._token_ids: list[int] = []

    def put(self, sequence: CachedSequence, token_ids: Sequence[int]) -> None:
        """Keep a sequence that holds the first of these tokens."""
        self._sequence, self._token_ids = sequence, list(token_ids[: sequence.length])

    def resume(self, cache: KVCache, token_ids: Sequence[int]) -> CachedSequence | None:
        """Hand out the sequence, cut to what it has in common with the beginning of these tokens, or as near before
        that as it can be cut; None where there is none."""
        sequence, self._sequence = self._sequence, None
        if sequence is None:
            return None
        common = common_prefix(self._token_ids, token_ids)
        saved = {*sequence.saved, *sequence.snapshots}
        lengths = [common, *sorted((length for length in saved if length < common), reverse=True), 0]
        cache.truncate(sequence, next(length for length in lengths if cache.can_cut(sequence, length)))
        return sequence

    def forget(self, cache: KVCache) -> None:
        """Give the sequence's blocks back."""
        sequence, self._sequence = self._sequence, None
        self._token_ids = []
        if sequence is not None:
            cache.free(sequence)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading elements are the same in both."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
