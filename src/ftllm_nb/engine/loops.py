"""Answers that only repeat themselves: small models, and greedy choices, come to the same words again and again."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_RUN = 32
"""Most tokens of a run that is looked for."""
LOOP_TOKENS = 160
"""So many tokens at the end that are nothing but one run, repeated, are a loop: 32 tokens for the fifth time."""


def is_loop(answer_ids: Sequence[int]) -> bool:
    """Whether the answer's end is one run of at most `LONGEST_RUN` tokens over and over. Asked after each token, it
    looks closer only where the last token is the one that stood a run before."""
    if len(answer_ids) < LOOP_TOKENS:
        return False
    last = answer_ids[-1]
    runs = [size for size in range(1, LONGEST_RUN + 1) if answer_ids[-1 - size] == last]
    if not runs:
        return False
    end = list(answer_ids[-LOOP_TOKENS:])
    return any(end[size:] == end[:-size] for size in runs)
