# mypy: disallow-untyped-decorators=False
"""Loops that keep one part of a core busy and nothing else: its loads, its float32 units, its int8 units.

They share no code with the matmul kernels, so that a kernel is never measured against itself. Vectors are as
wide as the features of the host allow under the tier that Numba compiles for. Every result depends on all
that a loop computed, so that the compiler can leave nothing out; no loop needs more registers than there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
from llvmlite import ir
from numba import extending, types

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.tiers import current_tier, host_features

intrinsic: Any = extending.intrinsic
I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()

READ_STREAMS = 2
READ_VECTORS = 8
"""Loads of one stream in one iteration."""
READ_CHAINS = 8
CACHE_LINE = 64
PREFETCH_DISTANCE = 1024
"""Bytes. Hardware alone may not keep enough loads under way; a page ahead and more gained nothing."""


@dataclass(frozen=True)
class VectorUnit:
    """Width of a vector in bytes, and how many accumulators to keep in flight.

    A multiply-add takes 4 or 5 cycles and 2 to 4 of them start in a cycle: 12 to 16 independent chains keep
    every unit busy. 16 registers hold 12 chains and the operands, 32 registers hold 16.
    """

    vector_bytes: int
    chains: int


@dataclass(frozen=True)
class DotInstruction:
    """An instruction that adds the dot products of 4 neighbouring bytes to each 32-bit lane.

    `pairs`: one that makes the dot products of 2 neighbouring bytes, in 16-bit lanes, and leaves adding to another.
    """

    feature: str
    llvm_name: str
    vector_bytes: int
    pairs: bool = False


DOT_INSTRUCTIONS = (
    DotInstruction("avx512vnni", "llvm.x86.avx512.vpdpbusd.512", 64),
    DotInstruction("avxvnni", "llvm.x86.avx512.vpdpbusd.256", 32),
    DotInstruction("dotprod", "llvm.aarch64.neon.sdot.v4i32.v16i8", 16),
    DotInstruction("avx2", "llvm.x86.avx2.pmadd.ub.sw", 32, pairs=True),
)
"""Fastest first."""


def compiled_features() -> frozenset[str]:
    """LLVM's names of the CPU features that Numba compiles for: the host's, or a forced tier's."""
    current_tier()
    config: Any = numba.config
    if config.CPU_FEATURES is None:
        return host_features()
    return frozenset(name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+"))


def vector_unit(features: frozenset[str]) -> VectorUnit:
    """The widest vectors among `features`."""
    if "avx512f" in features:
        return VectorUnit(64, 16)
    if "avx" in features:
        return VectorUnit(32, 12)
    if "neon" in features:
        return VectorUnit(16, 16)
    return VectorUnit(16, 12)


def dot_instruction(features: frozenset[str]) -> DotInstruction | None:
    """The fastest dot-product instruction among `features`, or None."""
    return next((found for found in DOT_INSTRUCTIONS if found.feature in features), None)


UNIT = vector_unit(compiled_features())
DOT = dot_instruction(compiled_features())
READ_BLOCK = UNIT.vector_bytes * READ_VECTORS
"""The length of a stream is a multiple of this."""
MULTIPLY_ADD_OPERATIONS = 2 * UNIT.chains * (UNIT.vector_bytes // 4)
"""Floating-point operations of one iteration of `multiply_add`."""
DOT_OPERATIONS = 2 * UNIT.chains * DOT.vector_bytes if DOT is not None else 0
"""Integer operations (a multiplication and an addition a byte) of one iteration of `dot_product`."""


def declare(builder: Any, name: str, result: Any, parameters: list[Any]) -> Any:
    """The function of that name in the module, declared on first use."""
    declared = builder.module.globals.get(name)
    return declared or ir.Function(builder.module, ir.FunctionType(result, parameters), name)


def emit_loop(
    builder: Any, end: Any, step: int, accumulators: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Emit a loop over index = 0, step, … below `end`, run at least once; the accumulators' values after it.

    `body(index, accumulators) -> accumulators` emits one iteration. The accumulators are SSA values, so that
    they live in registers.
    """
    before = builder.block
    loop = builder.append_basic_block("loop")
    after = builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(I64)
    index.add_incoming(I64(0), before)
    entering = []
    for value in accumulators:
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        entering.append(phi)
    leaving = body(index, entering)
    following = builder.add(index, I64(step))
    index.add_incoming(following, builder.block)
    for phi, value in zip(entering, leaving, strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_unsigned("<", following, end), loop, after)
    builder.position_at_end(after)
    return leaving


def emit_splat(builder: Any, scalar: Any, lanes: int) -> Any:
    """A vector of `lanes` copies of `scalar`."""
    kind = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(
        first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    )


def emit_fold(builder: Any, vectors: list[Any], combine: Callable[[Any, Any], Any]) -> Any:
    """All lanes of all vectors, combined into one scalar."""
    total = vectors[0]
    for vector in vectors[1:]:
        total = combine(total, vector)
    scalar = builder.extract_element(total, I32(0))
    for lane in range(1, total.type.count):
        scalar = combine(scalar, builder.extract_element(total, I32(lane)))
    return scalar


def distinct_starts(builder: Any, start: Any, lanes: int, combine: Callable[[Any, Any], Any]) -> list[Any]:
    """One accumulator a chain, each begun with another value, since the compiler merges equal chains."""
    return [emit_splat(builder, combine(start, ir.Constant(start.type, chain)), lanes) for chain in range(UNIT.chains)]


@intrinsic(prefer_literal=True)
def _xor_streams(typing_context: Any, address: Any, stream_bytes: Any, prefetch: Any) -> Any:
    ahead = prefetch.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = builder.inttoptr(arguments[0], I8.as_pointer())
        length = arguments[1]
        vector = ir.VectorType(I64, UNIT.vector_bytes // 8)
        fetch = declare(builder, "llvm.prefetch.p0", ir.VoidType(), [I8.as_pointer(), I32, I32, I32])

        def body(index: Any, entering: list[Any]) -> list[Any]:
            values = list(entering)
            chain = 0
            for stream in range(READ_STREAMS):
                begin = builder.gep(base, [builder.add(index, builder.mul(length, I64(stream)))])
                for offset in range(0, READ_BLOCK, UNIT.vector_bytes):
                    if ahead and offset % CACHE_LINE == 0:
                        line = builder.gep(begin, [I64(offset + ahead)])
                        builder.call(fetch, [line, I32(0), I32(3), I32(1)])
                    place = builder.gep(begin, [I64(offset)])
                    loaded = builder.load(builder.bitcast(place, vector.as_pointer()))
                    loaded.align = UNIT.vector_bytes
                    values[chain] = builder.xor(values[chain], loaded)
                    chain = (chain + 1) % READ_CHAINS
            return values

        zeros = [ir.Constant(vector, [0] * vector.count)] * READ_CHAINS
        return emit_fold(builder, emit_loop(builder, length, READ_BLOCK, zeros, body), builder.xor)

    return types.int64(types.int64, types.int64, prefetch), generate


@intrinsic
def _multiply_add_chains(typing_context: Any, iterations: Any, factor: Any, addend: Any) -> Any:
    lanes = UNIT.vector_bytes // 4

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        end, factor, addend = arguments
        vector = ir.VectorType(F32, lanes)
        # fmuladd is one fused instruction where the CPU has it, else a multiplication and an addition.
        multiply_add = declare(builder, f"llvm.fmuladd.v{lanes}f32", vector, [vector] * 3)
        factors, addends = emit_splat(builder, factor, lanes), emit_splat(builder, addend, lanes)

        def body(index: Any, entering: list[Any]) -> list[Any]:
            return [builder.call(multiply_add, [value, factors, addends]) for value in entering]

        starts = distinct_starts(builder, addend, lanes, builder.fadd)
        return emit_fold(builder, emit_loop(builder, end, 1, starts, body), builder.fadd)

    return types.float32(types.int64, types.float32, types.float32), generate


@intrinsic
def _dot_chains(typing_context: Any, iterations: Any, left: Any, right: Any) -> Any:
    if DOT is None:
        return None
    name, lanes, pairs = DOT.llvm_name, DOT.vector_bytes // 4, DOT.pairs

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        end, left, right = arguments[0], builder.trunc(arguments[1], I32), builder.trunc(arguments[2], I32)
        sums, quads = ir.VectorType(I32, lanes), ir.VectorType(I8, 4 * lanes)
        halves = ir.VectorType(ir.IntType(16), 2 * lanes)
        lefts = builder.bitcast(emit_splat(builder, left, lanes), quads)
        rights = builder.bitcast(emit_splat(builder, right, lanes), quads)

        def add_dot(value: Any) -> Any:
            if not pairs:
                dot = declare(builder, name, sums, [sums, quads, quads])
                return builder.call(dot, [value, lefts, rights])
            # The sum itself is a factor: a constant product would be computed once, before the loop.
            dot = declare(builder, name, halves, [quads, quads])
            product = builder.call(dot, [builder.bitcast(value, quads), rights])
            return builder.bitcast(builder.add(builder.bitcast(value, halves), product), sums)

        def body(index: Any, entering: list[Any]) -> list[Any]:
            return [add_dot(value) for value in entering]

        starts = distinct_starts(builder, left, lanes, builder.add)
        folded = emit_fold(builder, emit_loop(builder, end, 1, starts, body), builder.add)
        return builder.sext(folded, I64)

    return types.int64(types.int64, types.int64, types.int64), generate


@kernel(("int64", "int64", "int64"), "int64")
def read_plain(address: int, stream_bytes: int, passes: int) -> int:
    """Read `READ_STREAMS` streams of `stream_bytes` each, one behind the other at the aligned `address`.

    `passes` times; the sum of what each pass gives, the exclusive or of its int64 words.
    """
    total = 0
    for _ in range(passes):
        total += _xor_streams(address, stream_bytes, 0)
    return total


@kernel(("int64", "int64", "int64"), "int64")
def read_prefetching(address: int, stream_bytes: int, passes: int) -> int:
    """`read_plain` with software prefetch: reads the same bytes and gives the same result."""
    total = 0
    for _ in range(passes):
        total += _xor_streams(address, stream_bytes, PREFETCH_DISTANCE)
    return total


@kernel(("int64", "float32", "float32"), "float32")
def multiply_add(iterations: int, factor: float, addend: float) -> float:
    """`iterations` times x = x · factor + addend on every lane of every chain; the sum of all lanes."""
    total: float = _multiply_add_chains(iterations, factor, addend)
    return total


@kernel(("int64", "int64", "int64"), "int64")
def dot_product(iterations: int, left: int, right: int) -> int:
    """`iterations` times x += the dot product of 4 bytes of `left` and `right` on every lane of every chain.

    Where the instruction makes pairs, x += the dot products of 2 bytes of x and `right`, in 16 bits. The sum of all
    lanes, in 32 bits. Only where `DOT` is not None.
    """
    total: int = _dot_chains(iterations, left, right)
    return total
