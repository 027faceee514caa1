"""Whole numbers of a checkpoint in blocks: every number, scale and zero point, and products, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.checkpoint.compressed_tensors import QuantizedMatrix, pack
from ftllm_nb.kernels.repack_integers import BAD_NUMBER, BAD_SCALE
from ftllm_nb.memory import aligned_bytes
from ftllm_nb.quant.stored import StoredFormat
from ftllm_nb.quantized_type import QuantizedType
from tests.golden.small_models import to_stored_type
from tests.kernels.integer_runs import looked_up, packed_product
from tests.kernels.kernel_runs import run
from tests.quantized_folders import dequantized

# Each is a kernel of its own, which takes ten seconds to compile.
SLOW = ("int8_bfloat16", "int4z_float32", "int8_float32", "int8g256z_float16", "int8z_bfloat16")
TYPES = ["int4g32z_bfloat16", "int8_float16", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
each_type = pytest.mark.parametrize("dtype", TYPES)
ROWS = [1, 15, 16, 17, 33, 65, 130]
TOKENS = [1, 2, 3, 4, 6, 8, 9, 15, 16, 17, 33, 97]


def stored(dtype: str) -> StoredFormat:
    """The format that keeps matrices of a type, as headers name it."""
    type = QuantizedType.parse(dtype)
    assert type is not None
    return StoredFormat(type)


def column_counts(format: StoredFormat) -> list[int]:
    """Any where a row is a group, else whole groups."""
    group = format.type.group
    return [group, 2 * group, 5 * group] if group else [1, 5, 31, 32, 33, 130, 300]


def drawn(format: StoredFormat, rows: int, columns: int, seed: int) -> QuantizedMatrix:
    """Numbers and zero points over their whole range; scales of all magnitudes that their type has."""
    random, half = np.random.default_rng(seed), 1 << (format.type.bits - 1)
    groups = columns // format.type.group if format.type.group else 1
    lowest, highest = (-24, 15) if format.type.scales == "float16" else (-120, 100)
    exact = random.standard_normal((rows, groups)) * 2.0 ** random.integers(lowest, highest, (rows, groups))
    steps = random.integers(-half, half, (rows, columns)).astype(np.int8)
    zero_points = random.integers(-half, half, (rows, groups)).astype(np.int8) if format.type.zero_points else None
    return QuantizedMatrix(steps, to_stored_type(np.float32(exact), format.type.scales), zero_points)


def repacked(format: StoredFormat, matrix: QuantizedMatrix, packs: bool) -> tuple[np.ndarray, int]:
    """Blocks of a matrix that comes packed or a number a byte, and the fault word; nothing is written after them."""
    rows, columns = matrix.steps.shape
    size = format.packed_bytes(rows, columns)
    memory = aligned_bytes(size + 64)
    memory[size:] = 170
    numbers = pack(matrix.steps, format.type.bits) if packs else np.ascontiguousarray(matrix.steps)
    fault, half = np.zeros(1, np.int64), np.uint8(1 << (format.type.bits - 1))
    zeros = np.empty(0, np.uint8) if matrix.zero_points is None else matrix.zero_points.view(np.uint8) + half
    run(format.pack_kernel(""), 0, numbers.ctypes.data, memory.ctypes.data, rows, columns, fault.ctypes.data,
        matrix.scales.ctypes.data, zeros.ctypes.data, int(not packs))  # fmt: skip
    assert (memory[size:] == 170).all()
    return memory[:size], int(fault[0])


@each_type
@settings(max_examples=20, deadline=None)
@given(rows=st.sampled_from(ROWS), packs=st.booleans(), seed=st.integers(0, 9), data=st.data())
def test_lookups_give_the_dequantized_rows_bit_for_bit(
    dtype: str, rows: int, packs: bool, seed: int, data: st.DataObject
) -> None:
    format = stored(dtype)
    columns = data.draw(st.sampled_from(column_counts(format)))
    matrix = drawn(format, rows, columns, seed)
    packed, fault = repacked(format, matrix, packs)
    assert fault == 0
    ids = np.random.default_rng(seed).integers(0, rows, 9).astype(np.int32)
    np.testing.assert_array_equal(looked_up(format, packed, ids, columns), dequantized(matrix)[ids])


def whole_activations(format: StoredFormat, tokens: int, columns: int, seed: int) -> np.ndarray:
    """Whole numbers, ±127 among those of each group, so that rounding them to 8 bits changes nothing."""
    x = np.random.default_rng(seed).integers(-127, 128, (tokens, columns)).astype(np.float32)
    x[:, :: format.type.group or columns] = 127
    return x


@each_type
@settings(max_examples=25, deadline=None)
@given(tokens=st.sampled_from(TOKENS), rows=st.sampled_from(ROWS), seed=st.integers(0, 9), data=st.data())
def test_products_equal_those_of_the_integers(
    dtype: str, tokens: int, rows: int, seed: int, data: st.DataObject
) -> None:
    """With scales of 1 every sum is a whole number below 2^24: what float32 holds exactly."""
    format = stored(dtype)
    columns = data.draw(st.sampled_from(column_counts(format)))
    matrix = drawn(format, rows, columns, seed)
    ones = to_stored_type(np.ones(matrix.scales.shape, np.float32), format.type.scales)
    matrix = QuantizedMatrix(matrix.steps, ones, matrix.zero_points)
    packed, _ = repacked(format, matrix, packs=True)
    x = whole_activations(format, tokens, columns, seed)
    expected = x.astype(np.int64) @ dequantized(matrix).astype(np.int64).T
    got = packed_product(format, x, packed, rows, np.zeros(rows, np.float32))
    np.testing.assert_array_equal(got.astype(np.int64), expected)


@each_type
@pytest.mark.parametrize(("step", "zero_point"), [(-1, 1), (1, -1), (-1, -1), (1, 1)])
def test_products_at_the_ends_of_the_ranges(dtype: str, step: int, zero_point: int) -> None:
    """All numbers, zero points and activations as large as can be: no sum in between may saturate."""
    format, half = stored(dtype), 1 << (stored(dtype).type.bits - 1)
    columns, ends = 256, {1: half - 1, -1: -half}
    groups = columns // format.type.group if format.type.group else 1
    ones = to_stored_type(np.ones((16, groups), np.float32), format.type.scales)
    zero_points = np.full((16, groups), ends[zero_point], np.int8) if format.type.zero_points else None
    matrix = QuantizedMatrix(np.full((16, columns), ends[step], np.int8), ones, zero_points)
    packed, _ = repacked(format, matrix, packs=False)
    for sign in (1, -1):
        x = np.full((17, columns), 127 * sign, np.float32)
        expected = x.astype(np.int64) @ dequantized(matrix).astype(np.int64).T
        got = packed_product(format, x, packed, 16, np.zeros(16, np.float32))
        np.testing.assert_array_equal(got.astype(np.int64), expected)


@each_type
def test_a_token_gives_the_same_bits_in_any_company(dtype: str) -> None:
    format = stored(dtype)
    random = np.random.default_rng(3)
    matrix = drawn(format, 90, 1536, 3)
    scales = to_stored_type(random.random(matrix.scales.shape, np.float32), format.type.scales)
    packed, _ = repacked(format, QuantizedMatrix(matrix.steps, scales, matrix.zero_points), packs=True)
    x, bias = random.standard_normal((300, 1536), np.float32), random.standard_normal(90).astype(np.float32)
    together = packed_product(format, x, packed, 90, bias)
    for count in (1, 2, 3, 4, 6, 7, 8, 9, 15, 16, 17, 33, 255):
        few = packed_product(format, np.ascontiguousarray(x[-count:]), packed, 90, bias)
        np.testing.assert_array_equal(few, together[-count:])


@pytest.mark.slow
def test_groups_that_are_no_power_of_two() -> None:
    """Of more columns than are gone through at once, which they do not divide."""
    format, columns = stored("int4g96z_float16"), 96 * 13
    matrix = drawn(format, 70, columns, 1)
    matrix = QuantizedMatrix(matrix.steps, np.ones_like(matrix.scales), matrix.zero_points)
    packed, _ = repacked(format, matrix, packs=True)
    for tokens in (1, 40):
        x = whole_activations(format, tokens, columns, 1)
        expected = x.astype(np.int64) @ dequantized(matrix).astype(np.int64).T
        got = packed_product(format, x, packed, 70, np.zeros(70, np.float32))
        np.testing.assert_array_equal(got.astype(np.int64), expected)


@each_type
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_scale_that_is_no_number_is_a_fault(dtype: str, value: float) -> None:
    format = stored(dtype)
    matrix = drawn(format, 20, 512, 1)
    wrong = matrix.scales.copy()
    wrong[18, -1] = to_stored_type(np.array([value], np.float32), format.type.scales)[0]
    assert repacked(format, matrix, packs=True)[1] == 0
    assert repacked(format, QuantizedMatrix(matrix.steps, wrong, matrix.zero_points), packs=True)[1] == BAD_SCALE


@pytest.mark.parametrize("value", [-9, 8, 127, -128])
def test_a_byte_that_does_not_fit_4_bits_is_a_fault(value: int) -> None:
    format = stored("int4_float16")
    matrix = drawn(format, 20, 70, 1)
    assert repacked(format, matrix, packs=False)[1] == 0
    matrix.steps[19, 69] = value
    assert repacked(format, matrix, packs=False)[1] == BAD_NUMBER
