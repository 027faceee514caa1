"""A pytest plugin: the tier `amx` on a CPU without AMX, whose tile instructions Python carries out.

Kernels are generated as for AMX, except that each tile instruction calls one of the functions below, which are
written from Intel's description of it. Nothing is loaded from the cache of kernels or written to it. To be used where
no kernel was imported yet: `python -m pytest -p tests.kernels.amx_emulation …`.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

import ftllm_nb.kernels.tiers as tiers
from ftllm_nb.kernels import cache

ROWS, ROW_BYTES, REGISTERS = 16, 64, 8

executed: Counter[str] = Counter()
"""How often each instruction ran: a test that ran none has shown nothing."""


class Registers(threading.local):
    """A thread's tile registers: their bytes, and the rows and bytes of a row that the configuration gave them."""

    def __init__(self) -> None:
        self.values = np.zeros((REGISTERS, ROWS, ROW_BYTES), np.uint8)
        self.rows = [0] * REGISTERS
        self.row_bytes = [0] * REGISTERS

    def part(self, number: int, dtype: str) -> NDArray[Any]:
        """What is used of a register, as numbers `[rows, numbers of a row]`."""
        values = self.values[number].view(dtype)
        return values[: self.rows[number], : self.row_bytes[number] // values.itemsize]

    def operands(self, sums: int, first: int, second: int) -> tuple[int, int, int]:
        """Rows, groups of 4 bytes and columns of a product; an assertion where the CPU would raise an exception."""
        rows, inner, columns = self.rows[sums], self.row_bytes[first] // 4, self.row_bytes[sums] // 4
        assert len({sums, first, second}) == 3
        assert (self.rows[first], self.rows[second], self.row_bytes[second]) == (rows, inner, 4 * columns)
        return rows, inner, columns


registers = Registers()


def ldtilecfg(address: int) -> None:
    configuration = ctypes.string_at(address, 64)
    assert configuration[0] == 1
    registers.row_bytes = np.frombuffer(configuration[16:32], "<u2").tolist()
    registers.rows = list(configuration[48:56])
    assert max(registers.row_bytes) <= ROW_BYTES
    assert max(registers.rows) <= ROWS
    registers.values[:] = 0


def tilerelease() -> None:
    registers.rows, registers.row_bytes = [0] * REGISTERS, [0] * REGISTERS


def tilezero(number: int) -> None:
    registers.values[number] = 0


def tileloadd64(number: int, address: int, stride: int) -> None:
    registers.values[number] = 0
    for row, target in enumerate(registers.part(number, "u1")):
        target[:] = np.frombuffer(ctypes.string_at(address + row * stride, len(target)), np.uint8)


def tilestored64(number: int, address: int, stride: int) -> None:
    for row, values in enumerate(registers.part(number, "u1")):
        ctypes.memmove(address + row * stride, values.tobytes(), len(values))


def add_dots(sums: int, first: int, second: int, second_type: str) -> None:
    """int32 sums += int8 · int8 or uint8, four neighbouring bytes a sum."""
    rows, inner, columns = registers.operands(sums, first, second)
    left = registers.part(first, "i1").astype(np.int32).reshape(rows, inner, 4)
    right = registers.part(second, second_type).astype(np.int32).reshape(inner, columns, 4)
    registers.part(sums, "i4")[:] += np.einsum("rkj,kcj->rc", left, right)


def tdpbssd(sums: int, first: int, second: int) -> None:
    add_dots(sums, first, second, "i1")


def tdpbsud(sums: int, first: int, second: int) -> None:
    add_dots(sums, first, second, "u1")


def tdpbf16ps(sums: int, first: int, second: int) -> None:
    """float32 sums += bfloat16 · bfloat16: even and odd products are added up apart, then both to the sums."""
    rows, inner, columns = registers.operands(sums, first, second)
    left, right = (
        (registers.part(number, "u2").astype(np.uint32) << 16).view(np.float32) for number in (first, second)
    )
    parts = np.zeros((2, rows, columns), np.float32)
    for step in range(inner):
        for odd in range(2):
            parts[odd] += left[:, 2 * step + odd, None] * right[step, odd::2]
    registers.part(sums, "f4")[:] += parts[0] + parts[1]


NUMBER, ADDRESS = ctypes.c_int8, ctypes.c_int64
INSTRUCTIONS: dict[Callable[..., None], list[Any]] = {
    ldtilecfg: [ADDRESS],
    tilerelease: [],
    tilezero: [NUMBER],
    tileloadd64: [NUMBER, ADDRESS, ADDRESS],
    tilestored64: [NUMBER, ADDRESS, ADDRESS],
    tdpbssd: [NUMBER, NUMBER, NUMBER],
    tdpbsud: [NUMBER, NUMBER, NUMBER],
    tdpbf16ps: [NUMBER, NUMBER, NUMBER],
}


def callback(instruction: Callable[..., None], arguments: list[Any]) -> Any:
    """What machine code can call."""

    def carry_out(*values: int) -> None:
        executed[instruction.__name__] += 1
        instruction(*values)

    return ctypes.CFUNCTYPE(None, *arguments)(carry_out)


CALLBACKS = {f"llvm.x86.{each.__name__}": callback(each, arguments) for each, arguments in INSTRUCTIONS.items()}


def emulate() -> None:
    """Make `amx` the tier of this process."""
    features = tiers.host_features() | {"amx-tile", "amx-int8", "amx-bf16"}
    tiers.host_features = lambda: features
    tiers._may_use_amx = lambda: True
    os.environ["FTLLM_NB_TIER"], os.environ["FTLLM_NB_FETCH"] = "amx", "near"
    tiers.current_tier.cache_clear()
    assert tiers.current_tier().name == "amx", "kernels were imported before"
    # CPUs that have AMX have these as well, so that LLVM would use them.
    lacking = [name for name in ("avx512fp16", "avxvnni") if name not in features]
    numba.config.CPU_FEATURES = ",".join([numba.config.CPU_FEATURES, *(f"-{name}" for name in lacking)])
    cache.load = lambda name: None
    cache.save = lambda *arguments: None
    from ftllm_nb.kernels import amx_registers

    def function(builder: ir.IRBuilder, name: str, result: Any, *arguments: Any) -> Any:
        address = ctypes.cast(CALLBACKS[name], ctypes.c_void_p).value
        kind = ir.FunctionType(result, arguments).as_pointer()
        return builder.inttoptr(ir.Constant(ir.IntType(64), address), kind)

    amx_registers.function = function


def pytest_sessionfinish() -> None:
    print(f"\ninstructions carried out: {dict(executed)}")


emulate()
