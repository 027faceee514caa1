"""Numbers in int32 words: each at its own bits, against a loop over Python's integers, and golden words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors import pack, pack_zero_points, unpack, unpack_zero_points


def twin(values: NDArray[np.int8], bits: int) -> NDArray[np.int32]:
    """Number i of a row lies at bit i · bits of the row."""
    rows = []
    for row in values.tolist():
        number = sum((value + (1 << (bits - 1))) << (bits * place) for place, value in enumerate(row))
        size = -(-len(row) * bits // 32)
        rows.append(np.frombuffer(number.to_bytes(4 * size, "little"), "<i4"))
    return np.array(rows, np.int32)


def drawn(rows: int, columns: int, bits: int, seed: int) -> NDArray[np.int8]:
    half = 1 << (bits - 1)
    return np.random.default_rng(seed).integers(-half, half, (rows, columns)).astype(np.int8)


sizes = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 130])


@pytest.mark.parametrize("bits", [4, 8])
@settings(max_examples=30, deadline=None)
@given(rows=sizes, columns=sizes, seed=st.integers(0, 9))
def test_numbers_lie_at_their_bits_and_come_back(bits: int, rows: int, columns: int, seed: int) -> None:
    values = drawn(rows, columns, bits, seed)
    words = pack(values, bits)
    np.testing.assert_array_equal(words, twin(values, bits))
    np.testing.assert_array_equal(unpack(words, bits, columns), values)
    along_rows = pack_zero_points(values, bits)
    np.testing.assert_array_equal(along_rows, twin(np.ascontiguousarray(values.T), bits).T)
    np.testing.assert_array_equal(unpack_zero_points(along_rows, bits, rows), values)


def test_golden_words() -> None:
    """What compressed_tensors.compressors.pack_to_int32 of version 0.20.0 gives."""
    four = np.array([[-8, 7, 0, 1, -1, 2, -3, 5, 6]], np.int8)
    np.testing.assert_array_equal(pack(four, 4), np.array([[-710436624, 14]], np.int32))
    eight = np.array([[-128, 127, 0, 1, -1]], np.int8)
    np.testing.assert_array_equal(pack(eight, 8), np.array([[-2122252544, 127]], np.int32))
