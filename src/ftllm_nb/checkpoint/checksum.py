"""A checksum of a tensor's bytes that costs little more than reading them, whatever the order that parts come in.

Bytes are taken as words of 8, the last one filled up with zeros, and words as pages of 512. The checksum is the sum of
all words, each times the odd number 2 · page + 1, modulo 2^64. A changed word shows, lost pages and pages that changed
places do; that somebody forged the bytes does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD_BYTES, PAGE_WORDS = 8, 512
MODULUS = 1 << 64


def checksum(content: NDArray[np.uint8], start: int = 0) -> int:
    """What bytes from `start` on, a multiple of 8, add to their tensor's checksum; sums are modulo 2^64.

    `content`: C-contiguous, of a multiple of 8 bytes unless it is the tensor's end.
    """
    if start % WORD_BYTES:
        raise ValueError("parts of a tensor begin at multiples of 8 bytes")
    flat = content.reshape(-1)
    rest = flat.size % WORD_BYTES
    words = flat[: flat.size - rest].view("<u8")
    page, before = divmod(start // WORD_BYTES, PAGE_WORDS)
    head = min(-before % PAGE_WORDS, words.size)
    whole = (words.size - head) // PAGE_WORDS * PAGE_WORDS
    total = _sum(words[:head]) * (2 * page + 1)
    first = page + (1 if before else 0)
    pages = words[head : head + whole].reshape(-1, PAGE_WORDS).sum(axis=1, dtype=np.uint64)
    total += _sum(pages * np.arange(2 * first + 1, 2 * (first + len(pages)) + 1, 2, dtype=np.uint64))
    last = (start // WORD_BYTES + words.size) // PAGE_WORDS
    tail = _sum(words[head + whole :]) + int.from_bytes(flat[flat.size - rest :].tobytes(), "little")
    return (total + tail * (2 * last + 1)) % MODULUS


def _sum(words: NDArray[np.uint64]) -> int:
    return int(words.sum(dtype=np.uint64))
