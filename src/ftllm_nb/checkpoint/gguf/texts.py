"""Many short strings at once: where each begins is found for all together, and one call decodes them."""

from __future__ import annotations

import numpy as np

_LENGTH_BYTES = 8
_ZEROS = 6
"""The upper bytes of lengths below 65,536."""


def common_texts(content: bytes, count: int) -> tuple[list[str], int] | None:
    """`count` strings from the beginning on, each after its length as uint64, and how many bytes they take.

    None where that is not to be told so: where some string holds a zero byte, is 65,536 bytes long or longer, is not
    UTF-8, or lies beyond the end, or two empty ones follow each other.
    """
    data = np.frombuffer(content, np.uint8)
    places = len(data) - _LENGTH_BYTES
    if count == 0 or places <= 0:
        return None
    is_zero = data == 0
    begins = ~is_zero[_LENGTH_BYTES:]
    for byte in range(_LENGTH_BYTES - _ZEROS, _LENGTH_BYTES):
        begins &= is_zero[byte : byte + places]
    at = np.flatnonzero(begins)[:count]
    if len(at) < count:
        return None
    ends = at + _LENGTH_BYTES + data[at] + (data[at + 1].astype(np.int64) << 8)
    end = int(ends[-1])
    if at[0] != 0 or not np.array_equal(at[1:], ends[:-1]) or end > len(data):
        return None
    kept = np.ones(end, np.bool_)
    for byte in range(_LENGTH_BYTES - 1):
        kept[at + byte] = False
    try:
        joined = data[:end][kept].tobytes().decode("utf-8")
    except UnicodeDecodeError:
        return None
    texts = joined.split("\0")[1:]
    return (texts, end) if len(texts) == count else None
