"""The word by which workers meet: which operation is under way, how many may join it, have joined it and have left it.

A meeting costs more the more workers come: each of them writes the word, and all others read it again. So the worker
that begins an operation is alone in it at first. When it has counted the chunks it says for how many workers they are
worth a meeting, and only those come.
"""

from __future__ import annotations

import math

from ftllm_nb.kernels.emit import usable_in_kernels

COUNT_BITS = 11
"""Bits of each of the three numbers of workers."""
COUNT_MASK = (1 << COUNT_BITS) - 1
ENDED = COUNT_MASK
"""The number of those who joined while no walk is under way: more than there can be workers."""
JOINED_SHIFT = COUNT_BITS
LIMIT_SHIFT = 2 * COUNT_BITS
NUMBER_SHIFT = 3 * COUNT_BITS
"""Above the three: the operation's number. Operations are counted over all walks, so that no state comes again while
anybody remembers it."""
NUMBER_MASK = (1 << (64 - NUMBER_SHIFT)) - 1

JOIN_BYTES = 10_000
"""What one more worker costs an operation, as bytes of weights that a core reads meanwhile: about 0.6 µs, of which
bench/simulate_scaling.py measures the second worker's, at 16 to 18 GB/s."""


@usable_in_kernels
def workers_worth(chunks: int, chunk_bytes: int, workers: int) -> int:
    """How many of so many workers an operation is worth, 1 at least: with one fewer it would take longer, and with one
    more not less. A chunk takes as long as `chunk_bytes` are read from memory, or 0: longer than a meeting.

    b bytes on k workers take b / k + (k − 1) · JOIN_BYTES, of which the best k is the largest with
    k · (k − 1) · JOIN_BYTES ≤ b."""
    most = max(1, min(chunks, workers))
    if chunk_bytes == 0 or most == 1:
        return most
    best = 0.5 + math.sqrt(0.25 + chunks * chunk_bytes / JOIN_BYTES)
    return min(most, int(best))
