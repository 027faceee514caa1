"""Blocks of packed matrices against their definition, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.checkpoint.compressed_tensors import pack
from ftllm_nb.checkpoint.packed import BlockForm, ScaledForm
from ftllm_nb.checkpoint.packed.blocks import form_of
from ftllm_nb.quant.integers import IntegerFormat
from ftllm_nb.quant.scaled import ScaledFormat
from ftllm_nb.quant.stored import StoredFormat
from ftllm_nb.quantized_type import QuantizedType


def block_byte(block: np.ndarray, form: BlockForm, lane: int, column: int) -> int:
    """The unsigned number of a row of a block, as kernels/integer_tile.py says where it lies."""
    if form.type.bits == 8:
        return int(block[column // 4 * 64 + lane * 4 + column % 4])
    byte = int(block[column // 8 * 64 + lane * 4 + column % 4])
    return byte >> 4 if column % 8 >= 4 else byte & 15


@given(
    st.sampled_from([4, 8]),
    st.sampled_from([0, 32, 64]),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(0, 2**32 - 1),
)
def test_blocks_hold_every_number(bits: int, group: int, zeros: bool, rows: int, columns: int, seed: int) -> None:
    form = BlockForm(QuantizedType(bits, group, zero_points=zeros))
    if group:
        columns = -(-columns // group) * group
    random, half = np.random.default_rng(seed), 1 << (bits - 1)
    numbers = random.integers(-half, half, (rows, columns)).astype(np.int8)
    scales = random.standard_normal((rows, form.type.groups(columns))).astype(np.float16)
    zero_points = random.integers(0, 2 * half, scales.shape).astype(np.uint8) if zeros else None
    words = pack(numbers, bits).view(np.uint8)
    blocks = form.pack(words, scales, zero_points, columns)
    assert blocks.shape == form.shape(rows, columns)
    for row, column in {(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3), (rows // 3, columns // 2)}:
        found = block_byte(blocks[row // 16], form, row % 16, column)
        assert found - half == numbers[row, column]
    width = columns // scales.shape[1]
    middle = half if zero_points is None else zero_points.astype(np.float32).repeat(width, axis=1)
    expected = (numbers.astype(np.float32) + half - middle) * scales.astype(np.float32).repeat(width, axis=1)
    np.testing.assert_array_equal(form.unpack(blocks, rows, columns), expected)


@pytest.mark.parametrize(("group", "columns"), [(0, 96), (64, 192)])
def test_blocks_that_are_spread_stand_for_what_was_spread(group: int, columns: int) -> None:
    type = QuantizedType(8, group, spread=True)
    weights = np.random.default_rng(1).standard_normal((5, columns)).astype(np.float32)
    steps, scales = IntegerFormat(type).encode(weights)
    form = BlockForm(type)
    blocks = form.pack(pack(steps.astype(np.int8), 8).view(np.uint8), scales, None, columns)
    np.testing.assert_array_equal(form.unpack(blocks, 5, columns), IntegerFormat(type).rounded(weights))
    assert np.abs(form.unpack(blocks, 5, columns) - weights).max() < 0.03


@pytest.mark.parametrize(
    "dtype",
    ["int4_float16", "int8_float16", "int4g32_float16", "int8g128z_float16", "int4z_float16", "int8g64h_float16",
     "int4g32z_bfloat16", "int8_float32"],
)
@pytest.mark.parametrize("columns", [1, 31, 32, 100, 256])
def test_blocks_are_as_large_as_the_engine_s(dtype: str, columns: int) -> None:
    form = BlockForm.of(dtype)
    assert form is not None and str(form.type) == dtype
    assert form.block_bytes(columns) == StoredFormat(form.type).block_bytes(columns)


@pytest.mark.parametrize(
    "dtype", ["int4", "int4g128_float64", "int4g33_float16", "int4g0_float16", "int2_float16", "U8", ""]
)
def test_types_that_blocks_do_not_hold(dtype: str) -> None:
    assert BlockForm.of(dtype) is None


@pytest.mark.parametrize("dtype", ["e4m3g128_float32", "nf4g64_float32", "u4g32o_bfloat16", "u8_float16"])
@pytest.mark.parametrize("columns", [128, 132])
def test_blocks_of_codes_are_as_long_as_in_memory(dtype: str, columns: int) -> None:
    form = form_of(dtype)
    assert isinstance(form, ScaledForm) and str(form.type) == dtype
    assert form.shape(17, columns) == (2, ScaledFormat(form.type).block_bytes(columns))


@pytest.mark.parametrize("dtype", ["e9m9g128_float32", "e4m3g128_float64", "e4m3"])
def test_codes_that_there_are_not(dtype: str) -> None:
    assert form_of(dtype) is None
