"""Turning small functions that emit LLVM instructions into Numba intrinsics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

LANES = 16
"""Lanes of every vector, in every tier."""

LINE_BYTES = 64
"""Bytes of a cache line."""
PREFETCH_BYTES = 2048
"""How far ahead a single token's loop fetches weights: hardware alone keeps too few loads under way."""

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32 = ir.HalfType(), ir.FloatType()


_Function = TypeVar("_Function", bound=Callable[..., Any])


def usable_in_kernels(function: _Function) -> _Function:
    """Decorator: kernels may call the function, which Python calls, too."""
    register_jitable(function)
    return function


def emitted(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: make an intrinsic with fixed Numba types from `emit(builder, *values) -> value`.

    For a `types.void` result the function returns None.
    """

    def decorate(emit: Callable[..., Any]) -> Any:
        names = list(inspect.signature(emit).parameters)[1:]
        signature = result(*arguments)

        def define(typing_context: Any, *given: Any) -> Any:
            def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
                value = emit(builder, *values)
                return context.get_dummy_value() if value is None else value

            return signature, generate

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in ("typing_context", *names)]
        define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Numba reads it
        define.__name__ = define.__qualname__ = emit.__name__
        define.__module__ = emit.__module__
        define.__doc__ = emit.__doc__
        return intrinsic(define)

    return decorate


def literal(value: Any) -> int:
    """The integer of a Numba literal type; raises TypeError when the caller did not pass a constant."""
    if not isinstance(value, types.IntegerLiteral):
        raise TypeError(f"expected a constant integer, got {value}")
    return int(value.literal_value)


def pointer(builder: ir.IRBuilder, address: ir.Value, pointee: ir.Type) -> ir.Value:
    """An int64 address as a pointer to `pointee`."""
    return builder.inttoptr(address, pointee.as_pointer())


def load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int = 1) -> ir.Value:
    """A value of LLVM type `kind` at an int64 address, which may be unaligned."""
    value = builder.load(pointer(builder, address, kind))
    value.align = align
    return value


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, align: int = 1) -> None:
    """Write a value at an int64 address, which may be unaligned."""
    builder.store(value, pointer(builder, address, value.type)).align = align


def splat(builder: ir.IRBuilder, value: ir.Value, lanes: int = LANES) -> ir.Value:
    """A vector with `value` in every lane."""
    kind = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    single = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(single, undefined, zeros)


def constant(kind: ir.Type, value: float, lanes: int = LANES) -> ir.Constant:
    """A constant vector with `value` in every lane."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def function(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Type) -> ir.Function:
    """An LLVM intrinsic or external function, declared in the module once."""
    existing = builder.module.globals.get(name)
    if existing is not None:
        return existing
    return ir.Function(builder.module, ir.FunctionType(result, arguments), name)


NEAREST_CACHE, SECOND_CACHE = 3, 2
"""Where a fetched line shall lie. What is fetched far ahead is better off in the second: the first has few places, and
few lines on their way, for which what is needed at once then waits."""


def prefetch(
    builder: ir.IRBuilder, address: ir.Value, to_write: bool = False, cache: int = NEAREST_CACHE
) -> None:
    """Ask for the cache line at an int64 address, which need not be valid; it will be read once, or written."""
    place = pointer(builder, address, I8)
    fetch = function(builder, "llvm.prefetch.p0", ir.VoidType(), place.type, I32, I32, I32)
    builder.call(fetch, [place, ir.Constant(I32, int(to_write)), ir.Constant(I32, cache), ir.Constant(I32, 1)])


def computed_here(builder: ir.IRBuilder, value: Any) -> Any:
    """A vector, computed between the memory and tile instructions around it, and before the next one of which this is
    said: LLVM would put sums off, and spill what they need meanwhile. An empty piece of assembly takes it, which keeps
    its place. For x86 alone."""
    nothing = ir.InlineAsm(ir.FunctionType(value.type, [value.type]), "", "=v,0", side_effect=True)
    return builder.call(nothing, [value])


def kept_apart(builder: ir.IRBuilder, address: ir.Value) -> Any:
    """An int64 that LLVM cannot tell from others: of addresses at equal distances it would keep one, and add the
    distance over and over."""
    nothing = ir.InlineAsm(ir.FunctionType(address.type, [address.type]), "", "=r,0")
    return builder.call(nothing, [address])


def align_stack(builder: ir.IRBuilder) -> None:
    """Let the stack of the function begin at a cache line. LLVM keeps 16 bytes otherwise, so that vectors for which
    there are no registers may lie across lines: where they do is another place in each process."""
    attributes = builder.function.attributes
    attributes.alignstack = LINE_BYTES
    attributes.add("nounwind")  # llvmlite forgets the alignment where there is nothing else


def interleave(*lists: Sequence[Callable[[], None]]) -> None:
    """Emit lists of instructions, each in its order, spread over each other."""
    places = [((at + 0.5) / len(each), number, at) for number, each in enumerate(lists) for at in range(len(each))]
    for _, number, at in sorted(places):
        lists[number][at]()
