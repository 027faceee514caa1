"""The eight tile registers of AMX, each up to 16 rows of 64 bytes: their shape, and the instructions on them.

Source: Intel's Architecture Instruction Set Extensions Programming Reference, chapter on AMX.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from ftllm_nb.kernels.emit import I8, I32, I64, emitted, function, pointer

CONFIGURATION_BYTES = 64
ROW_BYTES = 64


def configure_registers(builder: ir.IRBuilder, scratch: Any, row_bytes: tuple[Any, Any], rows: Any) -> None:
    """Shape the registers, and make them zero; `scratch`: the address of CONFIGURATION_BYTES to write.

    `row_bytes`: two words, 16 bits for each of registers 0 to 3 and of 4 to 7; `rows`: one word, 8 bits for each.
    """
    words, zero = pointer(builder, scratch, I64), ir.Constant(I64, 0)
    palette = ir.Constant(I64, 1)
    for number, value in enumerate((palette, zero, *row_bytes, zero, zero, rows, zero)):
        builder.store(value, builder.gep(words, [ir.Constant(I32, number)])).align = 8
    place = pointer(builder, scratch, I8)
    builder.call(function(builder, "llvm.x86.ldtilecfg", ir.VoidType(), place.type), [place])


@emitted(types.void)
def release(builder):
    """Leave the registers empty, so that switching threads costs nothing."""
    builder.call(function(builder, "llvm.x86.tilerelease", ir.VoidType()), [])


def zero_register(builder: ir.IRBuilder, number: int) -> None:
    """Make the values of a register zero."""
    builder.call(function(builder, "llvm.x86.tilezero", ir.VoidType(), I8), [ir.Constant(I8, number)])


def load_register(builder: ir.IRBuilder, number: int, address: Any, stride: Any) -> None:
    """Load a register's rows, `stride` bytes from one to the next."""
    _move(builder, "llvm.x86.tileloadd64", number, address, stride)


def store_register(builder: ir.IRBuilder, number: int, address: Any, stride: Any) -> None:
    """Store a register's rows, `stride` bytes from one to the next."""
    _move(builder, "llvm.x86.tilestored64", number, address, stride)


def multiply_registers(builder: ir.IRBuilder, instruction: str, sums: int, first: int, second: int) -> None:
    """Add the product of two registers to a third: `instruction` is tdpbssd, tdpbsud or tdpbf16ps."""
    multiply = function(builder, f"llvm.x86.{instruction}", ir.VoidType(), I8, I8, I8)
    builder.call(multiply, [ir.Constant(I8, number) for number in (sums, first, second)])


def _move(builder: ir.IRBuilder, name: str, number: int, address: Any, stride: Any) -> None:
    place = pointer(builder, address, I8)
    move = function(builder, name, ir.VoidType(), I8, place.type, I64)
    builder.call(move, [ir.Constant(I8, number), place, stride])
