"""Weights in ggml's block types: layout, products, lookups, against NumPy and what the blocks stand for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.checkpoint import ggml
from ftllm_nb.checkpoint.ggml.places import BYTES, TABLES
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.repack_integers import BAD_SCALE
from ftllm_nb.memory import aligned_bytes
from ftllm_nb.quant.blocks import BlockFormat
from tests.kernels.integer_runs import looked_up, packed_product, quantized
from tests.kernels.kernel_runs import run

QUICK = "Q4_K"
"""With super-blocks and minimums: each type's kernels take twenty seconds to compile."""
SAME_PRODUCTS = {"IQ1_M": "IQ1_S", "IQ2_XS": "IQ2_XXS", "IQ2_S": "IQ2_XXS"}
"""Types whose blocks, once they are packed, another's kernel of products would read as well: the table is the same."""


def types(names: Iterable[str]) -> pytest.MarkDecorator:
    """Runs a test with each type."""
    return pytest.mark.parametrize(
        "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]
    )


each_type = types(block_types())
each_product = types(name for name in block_types() if name not in SAME_PRODUCTS)
ROWS = [1, 15, 16, 17, 33, 65, 130]
TOKENS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 33, 97]


def drawn(name: str, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Blocks of any bits, uint8 [rows, bytes of a row], whose float16 are of some magnitudes and signs."""
    random, type = np.random.default_rng((seed, rows, columns)), ggml.block_types()[name]
    raw = random.integers(0, 256, (rows, columns // type.columns, type.nbytes), np.uint8)
    for at in floats_at(name):
        floats = random.standard_normal(raw.shape[:2]) * 2.0 ** random.integers(-12, 0, raw.shape[:2])
        raw[..., at : at + 2] = floats.astype(np.float16)[..., None].view(np.uint8)
    if name == "MXFP4":
        raw[..., 0] = random.integers(110, 130, raw.shape[:2])
    if name == "IQ1_M":  # its float16 is scattered: this is the exponent's end
        raw[..., 55] = raw[..., 55] & 15 | 0x30
    return raw.reshape(rows, -1)


def floats_at(name: str) -> tuple[int, ...]:
    """Where a block in a file has float16."""
    if name in TABLES:
        return () if name == "IQ1_M" else (0,)
    return block_types()[name].float16_at


def packed(name: str, raw: np.ndarray, columns: int) -> tuple[np.ndarray, int]:
    """The packed matrix, and the fault word."""
    format = BlockFormat(name)
    memory = aligned_bytes(format.packed_bytes(len(raw), columns))
    memory[:] = 255
    fault = np.zeros(1, np.int64)
    kernel, source = format.pack_kernel("float32"), format.source(raw)
    run(kernel, 0, source.ctypes.data, memory.ctypes.data, len(raw), columns, fault.ctypes.data)
    return memory, int(fault[0])


def activations(format: BlockFormat, x: np.ndarray) -> np.ndarray:
    """What the kernels read of activations, as float64."""
    columns, form = x.shape[1], format.activations
    rows, group = quantized(format, x), form.group_columns(columns)
    size = (form.row_bytes(columns) - columns) // (columns // group)
    records = rows[:, columns : form.row_bytes(columns)].reshape(len(x), -1, size)
    scales = np.ascontiguousarray(records[..., :4]).view(np.float32).astype(np.float64)
    return (rows[:, :columns].view(np.int8).reshape(*records.shape[:2], group) * scales).reshape(x.shape)


def size_of(name: str, units: int) -> int:
    return units * max(256, block_types()[name].columns)


@pytest.mark.parametrize(("one", "other"), SAME_PRODUCTS.items())
def test_types_of_the_same_products(one: str, other: str) -> None:
    assert TABLES[one] == TABLES[other] and type(block_types()[one]) is type(block_types()[other])


@each_type
def test_no_bit_is_added_to_a_block(name: str) -> None:
    type = block_types()[name]
    if name in TABLES:
        assert type.block_bytes == BYTES == 148, "4.6 bits a number"
        return
    assert (type.columns, type.block_bytes) == ggml.block_types()[name][1:3]
    assert type.unit_bytes == 16 * type.block_bytes


@each_product
@settings(max_examples=12, deadline=None)
@given(rows=st.sampled_from(ROWS), tokens=st.sampled_from(TOKENS), units=st.sampled_from([1, 2, 3, 7]),
       seed=st.integers(0, 9))  # fmt: skip
def test_products_are_those_of_the_numbers(name: str, rows: int, tokens: int, units: int, seed: int) -> None:
    columns, random = size_of(name, units), np.random.default_rng(seed)
    raw, x = drawn(name, rows, columns, seed), random.standard_normal((tokens, columns), np.float32)
    bias, format = random.standard_normal(rows).astype(np.float32), BlockFormat(name)
    memory, fault = packed(name, raw, columns)
    assert fault == 0
    weight, values = ggml.dequantize(name, raw).astype(np.float64), activations(format, x)
    got = packed_product(format, x, memory, rows, bias)
    # Super-blocks subtract minimums, and centers, from sums of the numbers as they are: those bound the error.
    bound = np.abs(values).sum(-1, keepdims=True) * np.abs(weight).max(-1) + np.abs(bias)
    assert (np.abs(got - (values @ weight.T + bias)) <= 1e-6 * (bound + 1)).all()


@each_product
def test_a_token_gives_the_same_bits_in_any_company(name: str) -> None:
    columns, random = size_of(name, 9), np.random.default_rng(3)
    x, bias = random.standard_normal((110, columns), np.float32), random.standard_normal(83).astype(np.float32)
    format, (memory, _) = BlockFormat(name), packed(name, drawn(name, 83, columns), columns)
    together = packed_product(format, x, memory, 83, bias)
    for count in (1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 97):
        few = packed_product(format, np.ascontiguousarray(x[-count:]), memory, 83, bias)
        np.testing.assert_array_equal(few, together[-count:])


@each_product
@pytest.mark.parametrize("tokens", [1, 9])
def test_sums_at_the_ends_of_the_ranges_are_exact(name: str, tokens: int) -> None:
    """All bits of a block alike, and all activations as large as can be, of either sign: no sum in between may wrap."""
    columns, format = size_of(name, 1), BlockFormat(name)
    for byte in (0, 0x88, 255):
        raw = np.full_like(drawn(name, 16, columns), byte).reshape(16, -1, ggml.block_types()[name].nbytes)
        for at in floats_at(name):
            raw[..., at : at + 2] = np.array([0.5], np.float16).view(np.uint8)
        if name == "MXFP4":
            raw[..., 0] = 127
        if name == "IQ1_M":
            raw[..., 55] = raw[..., 55] & 15 | 0x30
        raw = raw.reshape(16, -1)
        weight = ggml.dequantize(name, raw).astype(np.float64)
        memory, _ = packed(name, raw, columns)
        for sign in (1, -1):
            x = np.full((tokens, columns), sign, np.float32)
            got = packed_product(format, x, memory, 16, np.zeros(16, np.float32))
            expected = activations(format, x) @ weight.T
            np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6 * np.abs(weight).sum(-1).max())


@each_type
def test_lookups_give_the_numbers(name: str) -> None:
    columns, ids = size_of(name, 2), np.array([3, 39, 16, 0, 39], np.int32)
    raw = drawn(name, 40, columns)
    memory, _ = packed(name, raw, columns)
    expected = ggml.dequantize(name, raw)[ids]
    np.testing.assert_array_equal(looked_up(BlockFormat(name), memory, ids, columns), expected)


@each_type
def test_activations_equal_their_reference(name: str) -> None:
    format, x = BlockFormat(name), np.random.default_rng(1).standard_normal((3, 512), np.float32)
    expected = format.activations.convert(x[None])[0]
    got = quantized(format, x)[:, : 4 * expected.shape[1]]
    np.testing.assert_array_equal(got, np.ascontiguousarray(expected).view(np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scale_that_is_no_number_is_a_fault(value: float) -> None:
    for at in (0, 2):
        raw = drawn("Q4_K", 20, 512)
        assert packed("Q4_K", raw, 512)[1] == 0
        raw[18, 144 + at : 146 + at] = np.array([value], np.float16).view(np.uint8)
        assert packed("Q4_K", raw, 512)[1] == BAD_SCALE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_activation_that_is_no_number_shows_in_every_output(value: float) -> None:
    x = np.ones((2, 512), np.float32)
    x[1, 300] = value
    memory, _ = packed("Q4_K", drawn("Q4_K", 16, 512), 512)
    got = packed_product(BlockFormat("Q4_K"), x, memory, 16, np.zeros(16, np.float32))
    assert np.isfinite(got[0]).all()
    assert not np.isfinite(got[1]).any()
