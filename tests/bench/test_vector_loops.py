"""The measuring loops compute what they claim, so nothing was optimised away; their machine code is tight."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.benchmark import vector_loops
from ftllm_nb.benchmark.vector_loops import (
    DOT,
    READ_BLOCK,
    READ_STREAMS,
    UNIT,
    compiled_features,
    dot_instruction,
    vector_unit,
)
from ftllm_nb.kernels.compile import Kernel

READERS = [vector_loops.read_plain, vector_loops.read_prefetching]
needs_dot = pytest.mark.skipif(DOT is None, reason="this CPU or tier has no int8 dot-product instruction")


def aligned(size: int) -> NDArray[np.uint8]:
    memory = np.random.default_rng(0).integers(0, 256, size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


@pytest.mark.parametrize("read", READERS, ids=repr)
@pytest.mark.parametrize("blocks", [1, 2, 33])
def test_reading_touches_every_byte_once(read: Kernel, blocks: int) -> None:
    memory = aligned(READ_STREAMS * READ_BLOCK * blocks)
    expected = np.bitwise_xor.reduce(memory.view(np.int64))
    assert read(memory.ctypes.data, READ_BLOCK * blocks, 1) == expected
    with np.errstate(over="ignore"):
        assert read(memory.ctypes.data, READ_BLOCK * blocks, 3) == expected * np.int64(3)


def test_multiply_adds_are_those_of_every_lane_and_chain() -> None:
    iterations, factor, addend = 5, np.float32(0.5), np.float32(1.0)
    chains = np.arange(UNIT.chains, dtype=np.float32) + addend
    for _ in range(iterations):
        chains = chains * factor + addend
    expected = chains.sum() * (UNIT.vector_bytes // 4)
    assert vector_loops.multiply_add(iterations, factor, addend) == pytest.approx(expected, rel=1e-5)
    operations = 2 * UNIT.chains * UNIT.vector_bytes // 4
    assert operations == vector_loops.MULTIPLY_ADD_OPERATIONS


@needs_dot
def test_dot_products_are_those_of_every_lane_and_chain() -> None:
    assert DOT is not None
    left, right = 0x01020304, 0x05060708
    lanes = DOT.vector_bytes // 4
    chains = left + np.arange(UNIT.chains, dtype="<i4")
    bytes_of_right = np.array([8, 7, 6, 5])
    for _ in range(3):
        if DOT.pairs:
            products = chains.view(np.uint8).reshape(-1, 2, 2) * bytes_of_right.reshape(2, 2)
            pairs = np.clip(products.sum(2), -(2**15), 2**15 - 1).astype("<i2")
            chains = (chains.view("<i2").reshape(-1, 2) + pairs).view("<i4").ravel()
        else:
            chains = chains + (np.array([4, 3, 2, 1]) @ bytes_of_right).astype("<i4")
    expected = lanes * chains.sum(dtype=np.int64)
    assert vector_loops.dot_product(3, left, right) == expected.astype(np.int32)
    assert vector_loops.DOT_OPERATIONS == 2 * 4 * lanes * UNIT.chains


def innermost_loop(loop: Kernel) -> str:
    """The first block of machine code that jumps back to its own label."""
    blocks = re.split(r"\n(?=\.LBB)", loop.assembly())
    for block in blocks:
        label = block.partition(":")[0]
        jump = re.search(rf"\s(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+{re.escape(label)}\b", block)
        if jump is not None:
            return block[: jump.start()]
    raise AssertionError("no loop is left of it")


@pytest.mark.skipif(not compiled_features() & {"avx", "avx512f"}, reason="knows the names of x86 alone")
@pytest.mark.parametrize(
    "loop, instruction",
    [
        pytest.param(vector_loops.multiply_add, "vfmadd", id="fma"),
        pytest.param(
            vector_loops.dot_product, "vpmaddubsw" if DOT and DOT.pairs else "vpdpbusd", id="dot", marks=needs_dot
        ),
    ],
)
def test_the_loop_holds_its_instructions_and_no_memory_access(loop: Kernel, instruction: str) -> None:
    code = innermost_loop(loop)
    assert code.count(instruction) % UNIT.chains == 0 and instruction in code
    assert "(%r" not in code, "accumulators were spilled"


@pytest.mark.skipif(not compiled_features() & {"avx", "avx512f"}, reason="knows the names of x86 alone")
@pytest.mark.parametrize("read, prefetches", [(READERS[0], 0), (READERS[1], 1)], ids=["plain", "prefetching"])
def test_the_reading_loop_loads_and_stores_nothing(read: Kernel, prefetches: int) -> None:
    lines = innermost_loop(read).splitlines()
    loads = [line for line in lines if "(%r" in line and "prefetch" not in line]
    assert len(loads) == READ_STREAMS * READ_BLOCK // UNIT.vector_bytes
    assert not any(re.search(r"mm\d+, -?\d*\(%r", line) for line in loads), "something is stored"
    fetched = sum("prefetch" in line for line in lines)
    assert fetched == prefetches * READ_STREAMS * READ_BLOCK // 64


@pytest.mark.parametrize(
    "features, vector_bytes, dot",
    [
        ({"avx", "avx2", "avx512f", "avx512vnni", "avxvnni"}, 64, "llvm.x86.avx512.vpdpbusd.512"),
        ({"avx", "avx2", "avxvnni"}, 32, "llvm.x86.avx512.vpdpbusd.256"),
        ({"avx", "avx2", "fma"}, 32, "llvm.x86.avx2.pmadd.ub.sw"),
        ({"avx"}, 32, None),
        ({"neon", "dotprod"}, 16, "llvm.aarch64.neon.sdot.v4i32.v16i8"),
        ({"sse2"}, 16, None),
    ],
)
def test_the_widest_vectors_and_dot_product_are_chosen(features: set[str], vector_bytes: int, dot: str | None) -> None:
    found = dot_instruction(frozenset(features))
    assert vector_unit(frozenset(features)).vector_bytes == vector_bytes
    assert (found.llvm_name if found else None) == dot
