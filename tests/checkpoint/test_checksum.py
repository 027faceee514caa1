"""The checksum against its definition, in parts as well, and what it notices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.checkpoint.checksum import checksum


def by_definition(content: bytes) -> int:
    total = 0
    for number in range(-(-len(content) // 8)):
        total += int.from_bytes(content[8 * number : 8 * number + 8], "little") * (2 * (number // 512) + 1)
    return total % (1 << 64)


def random_bytes(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@given(
    size=st.integers(0, 20_000),
    cuts=st.lists(st.integers(0, 2_500), max_size=4),
    seed=st.integers(0, 99),
)
def test_it_is_the_sum_of_its_parts(size: int, cuts: list[int], seed: int) -> None:
    content = random_bytes(size, seed)
    expected = by_definition(content.tobytes())
    assert checksum(content) == expected
    places = [0, *sorted(min(8 * cut, size // 8 * 8) for cut in cuts), size]
    parts = [checksum(content[start:end], start) for start, end in itertools.pairwise(places)]
    assert sum(parts) % (1 << 64) == expected


def test_what_it_notices() -> None:
    content = random_bytes(5 * 4096 + 24)
    known = checksum(content)
    for place in (0, 4095, 4096, 20_000, content.size - 1):
        flipped = content.copy()
        flipped[place] ^= 1
        assert checksum(flipped) != known
    lost = content.copy()
    lost[4096:8192] = 0
    exchanged = np.concatenate([content[4096:8192], content[:4096], content[8192:]])
    assert len({known, checksum(lost), checksum(exchanged), checksum(content[:-8])}) == 4


def test_parts_begin_at_words() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        checksum(random_bytes(16), 4)
