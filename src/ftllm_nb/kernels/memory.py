"""Scalars at addresses, atomics, and giving way: what kernels need of memory beside vectors.

Addresses are int64. Nothing is checked: addresses come from the lowering, which is checked.
"""

from __future__ import annotations

import platform

import numba
from llvmlite import ir
from numba.core import types

from ftllm_nb.kernels.emit import (
    F16,
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    LINE_BYTES,
    SECOND_CACHE,
    emitted,
    function,
    load,
    pointer,
    prefetch,
    store,
)
from ftllm_nb.kernels.half import narrow_half, widen_half


@emitted(types.int64, types.int64)
def load_i64(builder, address):
    """The int64 at an address."""
    return load(builder, address, I64, 8)


@emitted(types.int64, types.int64)
def load_i32(builder, address):
    """The int32 at an address, widened."""
    return builder.sext(load(builder, address, I32, 4), I64)


@emitted(types.int64, types.int64)
def load_byte(builder, address):
    """The unsigned byte at an address, widened."""
    return builder.zext(load(builder, address, I8), I64)


@emitted(types.int64, types.int64)
def load_word(builder, address):
    """The unsigned 4 bytes at an address, which may be unaligned, widened."""
    return builder.zext(load(builder, address, I32), I64)


@emitted(types.void, types.int64, types.int64)
def store_byte(builder, address, value):
    """Write the lowest byte of an integer."""
    store(builder, builder.trunc(value, I8), address)


@emitted(types.void, types.int64, types.int64)
def store_i32(builder, address, value):
    """Write the low half of an integer."""
    store(builder, builder.trunc(value, I32), address, 4)


@emitted(types.int64, types.int64)
def load_i16(builder, address):
    """The int16 at an address, widened."""
    return builder.sext(load(builder, address, I16, 2), I64)


@emitted(types.void, types.int64, types.int64)
def store_i16(builder, address, value):
    """Write the lowest quarter of an integer."""
    store(builder, builder.trunc(value, I16), address, 2)


@emitted(types.float32, types.int64)
def load_f32(builder, address):
    """The float32 at an address."""
    return load(builder, address, F32, 4)


@emitted(types.float32, types.int64)
def load_f16(builder, address):
    """The float16 at an address, widened."""
    return widen_half(builder, load(builder, address, F16, 2))


@emitted(types.void, types.int64, types.int64)
def store_i64(builder, address, value):
    """Write an int64."""
    store(builder, value, address, 8)


@emitted(types.void, types.int64, types.float32)
def store_f32(builder, address, value):
    """Write a float32."""
    store(builder, value, address, 4)


@emitted(types.void, types.int64, types.float32)
def store_f16(builder, address, value):
    """Write a float32 as float16, rounded to nearest even."""
    store(builder, narrow_half(builder, value), address, 2)


@emitted(types.void, types.int64, types.int64, types.int64)
def copy_bytes(builder, target, source, count):
    """Copy bytes between places that do not overlap."""
    byte_pointer = I8.as_pointer()
    memcpy = function(builder, "llvm.memcpy.p0.p0.i64", ir.VoidType(), byte_pointer, byte_pointer, I64, I1)
    places = [builder.inttoptr(place, byte_pointer) for place in (target, source)]
    builder.call(memcpy, [*places, count, ir.Constant(I1, 0)])


@emitted(types.void, types.int64)
def fetch_line(builder, address):
    """Ask for the cache line at an address, which need not be valid."""
    prefetch(builder, address)


@emitted(types.void, types.int64)
def fetch_into_second_cache(builder, address):
    """The same for what is read much later."""
    prefetch(builder, address, cache=SECOND_CACHE)


@numba.njit
def fetch_lines(address, size):
    """Ask for the cache lines of `size` bytes."""
    for at in range(0, size, LINE_BYTES):
        fetch_line(address + at)


@emitted(types.float32, types.int64)
def bits_float(builder, bits):
    """The float32 whose bits are the low half of an int64: how programs hold scalars."""
    return builder.bitcast(builder.trunc(bits, I32), F32)


@emitted(types.int64, types.float32)
def float_bits(builder, value):
    """The bits of a float32 as the low half of an int64."""
    return builder.sext(builder.bitcast(value, I32), I64)


@emitted(types.int64, types.int64, types.int64)
def atomic_add(builder, address, value):
    """Add to an int64, sequentially consistent; the value before."""
    return builder.atomic_rmw("add", pointer(builder, address, I64), value, "seq_cst")


@emitted(types.int64, types.int64)
def atomic_load(builder, address):
    """Read an int64, sequentially consistent."""
    return builder.load_atomic(pointer(builder, address, I64), "seq_cst", 8)


@emitted(types.int64, types.int64, types.int64, types.int64)
def compare_exchange(builder, address, expected, value):
    """Replace an int64 if it is `expected`, sequentially consistent; the value before."""
    pair = builder.cmpxchg(pointer(builder, address, I64), expected, value, "seq_cst", "seq_cst")
    return builder.extract_value(pair, 0)


@emitted(types.void, types.int64, types.int64)
def store_release(builder, address, value):
    """Write an int64 after everything that this thread wrote before it."""
    builder.store_atomic(value, pointer(builder, address, I64), "release", 8)


_PAUSE = {"x86_64": "llvm.x86.sse2.pause", "amd64": "llvm.x86.sse2.pause"}.get(platform.machine().lower())


@emitted(types.void)
def spin_pause(builder):
    """Tell the core that this is a spin loop."""
    if _PAUSE is not None:
        builder.call(function(builder, _PAUSE, ir.VoidType()), [])


_COUNTER = "llvm.readsteadycounter" if platform.machine().lower() in ("aarch64", "arm64") else "llvm.readcyclecounter"


@emitted(types.int64)
def read_counter(builder):
    """The core's time stamp: it grows at a constant rate, in a unit that each machine has its own of."""
    return builder.call(function(builder, _COUNTER, I64), [])


@emitted(types.void, types.int64, types.int64, types.int64, types.int64)
def call_kernel(builder, address, row, step, worker):
    """Call a compiled kernel `(row, step, worker)` by its address."""
    kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64])
    builder.call(builder.inttoptr(address, kind.as_pointer()), [row, step, worker])


yield_thread = types.ExternalFunction("sched_yield", types.int32())
"""Let another thread run: needed as soon as there are more threads than free cores."""
