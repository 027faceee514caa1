"""Float weights packed into blocks of 16 rows, and rows read back by their ids: exact roundings, and exact reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.kernels.amx_bf16 import pack_pairs_kernel, pair_embedding
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.embedding import embedding_kernel
from ftllm_nb.kernels.matmul_tile import BFLOAT16, FLOAT16, FLOAT32
from ftllm_nb.kernels.pack import pack_kernel
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKEN_IDS
from ftllm_nb.memory import aligned_bytes
from tests.kernels.kernel_runs import Floats, Rows, run

KINDS = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}
BLOCK = 16
UNUSED = 170

Bits = NDArray[np.unsignedinteger]


def bfloat16_bits(values: Floats) -> Bits:
    """The nearest bfloat16, ties to the even one: 8 significant bits, of which none are below 2^-133."""
    x = values.astype(np.float64)
    step = 2.0 ** np.maximum(np.frexp(np.where(np.isfinite(x), x, 1))[1] - 8, -133)
    with np.errstate(over="ignore"):
        rounded = (np.rint(x / step) * step).astype(np.float32)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


def float_bits(values: Floats, dtype: str) -> Bits:
    """The nearest values of a type, as their bits."""
    if dtype == "bfloat16":
        return bfloat16_bits(values)
    with np.errstate(over="ignore"):
        return values.astype(dtype).view(np.uint16 if dtype == "float16" else np.uint32)


def floats_of(bits: Bits, dtype: str) -> Floats:
    """What bits of a type stand for."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.view(dtype).astype(np.float32)


@dataclass(frozen=True)
class Packing:
    """A form that packed float weights have: `width` neighbouring columns of a row lie side by side."""

    dtype: str
    width: int
    pack: Callable[[int], Kernel]
    embedding: Callable[[], Kernel]

    def columns(self, columns: int) -> int:
        """Columns with their padding."""
        return columns if self.width == 1 else -(-columns // 32) * 32

    def block_bytes(self, columns: int) -> int:
        """Bytes of a block of 16 rows."""
        return self.columns(columns) * BLOCK * (4 if self.dtype == "float32" else 2)

    def blocks(self, bits: Bits) -> Bits:
        """[rows, columns] as blocks [rows/16][columns/width][16][width], zeros where there is nothing."""
        rows, columns = bits.shape
        padded = np.zeros((-(-rows // BLOCK) * BLOCK, self.columns(columns)), bits.dtype)
        padded[:rows, :columns] = bits
        return padded.reshape(-1, BLOCK, padded.shape[1] // self.width, self.width).transpose(0, 2, 1, 3).reshape(-1)


PACKINGS = [
    *(
        Packing(dtype, 1, lambda source, kind=kind: pack_kernel(source, kind), lambda kind=kind: embedding_kernel(kind))
        for dtype, kind in KINDS.items()
    ),
    Packing("bfloat16", 2, pack_pairs_kernel, lambda: pair_embedding),
]
FLOAT16_LIMIT = 65520
"""What is not below this is no number, or infinite, as float16."""
each_packing = pytest.mark.parametrize("packing", PACKINGS, ids=lambda packing: f"{packing.dtype}x{packing.width}")
each_source = pytest.mark.parametrize("source", KINDS)


def packed(packing: Packing, source: str, weight: Bits) -> NDArray[np.uint8]:
    """The blocks that the kernel makes of a checkpoint's matrix; it must write nothing after them."""
    rows, columns = weight.shape
    size = -(-rows // BLOCK) * packing.block_bytes(columns)
    memory = aligned_bytes(size + 64)
    memory[:] = UNUSED
    fault, weight = np.zeros(1, np.int64), np.ascontiguousarray(weight)
    run(packing.pack(KINDS[source]), 0, weight.ctypes.data, memory.ctypes.data, rows, columns, fault.ctypes.data)
    narrows = packing.dtype == "float16" != source
    assert fault[0] == (narrows and not (np.abs(floats_of(weight, source)) < FLOAT16_LIMIT).all())
    assert (memory[size:] == UNUSED).all()
    return memory[:size]


def drawn(rows: int, columns: int, seed: int) -> Floats:
    """Weights of all magnitudes, of which many are too large, or too small, for 16 bits."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, columns)) * 2.0 ** random.integers(-40, 30, (rows, columns))
    return values.astype(np.float32)


@each_packing
@each_source
@settings(max_examples=20, deadline=None)
@given(
    rows=st.sampled_from([1, 15, 16, 17, 33]),
    columns=st.sampled_from([1, 2, 31, 33, 63, 64, 65, 130]),
    seed=st.integers(0, 9),
)
def test_blocks_hold_the_nearest_values(packing: Packing, source: str, rows: int, columns: int, seed: int) -> None:
    weight = float_bits(drawn(rows, columns, seed), source)
    expected = packing.blocks(float_bits(floats_of(weight, source), packing.dtype))
    got = packed(packing, source, weight).view(expected.dtype)
    np.testing.assert_array_equal(got, expected)


EDGES = np.array(
    [
        0.0, -0.0, np.inf, -np.inf, 3.4028235e38, -3.4028235e38, 3.3895314e38, 3.3961775e38, 65504, 65519.996, 65520,
        1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-23, 1 + 2.0**-11, 1 + 3 * 2.0**-11, 2.0**-14, 2.0**-24,
        2.0**-25, 2.0**-25 * (1 + 2.0**-23), 3 * 2.0**-25, 2.0**-126, 2.0**-133, 2.0**-134, 3 * 2.0**-134, 2.0**-149,
    ],
    np.float32,
)  # fmt: skip
"""Ties, subnormal numbers, the largest ones, and what rounds to infinity."""


@each_packing
@each_source
def test_edges_of_the_types(packing: Packing, source: str) -> None:
    weight = float_bits(EDGES, source)[None]
    expected = packing.blocks(float_bits(floats_of(weight, source), packing.dtype))
    got = packed(packing, source, weight).view(expected.dtype)
    np.testing.assert_array_equal(got, expected)


@each_packing
@each_source
def test_what_is_no_number_stays_none(packing: Packing, source: str) -> None:
    """Also the NaN whose bits all lie in the half that bfloat16 drops."""
    nans = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    weight = nans.view(np.uint32) if source == "float32" else float_bits(np.full(4, np.nan, np.float32), source)
    blocks = packed(packing, source, weight[None])
    assert np.isnan(lookup(packing, blocks, np.zeros(1, np.int32), 4, 4).values).all()


def lookup(
    packing: Packing, blocks: NDArray[np.uint8], ids: NDArray[np.int32], columns: int, features: int, gap: int = 0,
    field: int = STEP_TOKEN_IDS, rows: int = 1 << 30,
) -> Rows:  # fmt: skip
    """The first `features` of the rows with these ids, by the kernel."""
    out = Rows.unwritten(len(ids), features, gap)
    run(packing.embedding(), len(ids), blocks.ctypes.data, packing.block_bytes(columns), packing.columns(columns),
        features, out.address, out.stride, field, rows, fields={field: ids.ctypes.data})  # fmt: skip
    out.assert_marks()
    return out


@each_packing
@settings(max_examples=30, deadline=None)
@given(
    rows=st.sampled_from([1, 15, 16, 17, 50]), columns=st.sampled_from([1, 2, 31, 33, 65, 130]),
    dropped=st.sampled_from([0, 1, 20]), tokens=st.sampled_from([1, 2, 9]), gap=st.sampled_from([0, 1, 16]),
    field=st.sampled_from([STEP_TOKEN_IDS, STEP_POSITIONS]), seed=st.integers(0, 9),
)  # fmt: skip
def test_rows_are_read_by_their_ids(
    packing: Packing, rows: int, columns: int, dropped: int, tokens: int, gap: int, field: int, seed: int
) -> None:
    bits = float_bits(drawn(rows, columns, seed), packing.dtype)
    blocks = packing.blocks(bits).view(np.uint8)
    ids = np.random.default_rng(seed).integers(0, rows, tokens).astype(np.int32)
    features = max(1, columns - dropped)
    out = lookup(packing, blocks, ids, columns, features, gap, field)
    np.testing.assert_array_equal(out.values, floats_of(bits, packing.dtype)[ids, :features])
    first = lookup(packing, blocks, ids, columns, features, gap, field, rows=1)
    np.testing.assert_array_equal(first.values, floats_of(bits, packing.dtype)[ids * 0, :features], "rows beyond")
