"""What codes stand for, as code: 16 rows' codes of four neighbouring columns become float32, but for a power of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.kernels.blocks.parts import looked_up
from ftllm_nb.kernels.dot import joined
from ftllm_nb.kernels.emit import I8, I16, I32, I64, LANES, constant, load
from ftllm_nb.kernels.half import widen_half
from ftllm_nb.kernels.simd import V_F16, V_F32, V_I16, V_I32

QUAD = 4
"""Columns that are decoded together."""
V_CODES = ir.VectorType(I8, LANES)
NAMES = tuple(CODES)
"""Codes are numbered, for kernels."""


def number_of(code: str) -> int:
    """The number of a code."""
    return NAMES.index(code)


def step_bytes(code: int) -> int:
    """Bytes of 16 rows' codes of a column, times two."""
    return 2 * LANES * CODES[NAMES[code]].bits // 8


def factor(code: int) -> float:
    """What the decoded numbers are to be multiplied by: float16's exponents have another bias."""
    return {"e4m3": 2.0**8, "e2m1": 2.0**14}.get(NAMES[code], 1.0)


def decoded(b: ir.IRBuilder, code: int, address: Any) -> list[Any]:
    """Four vectors of float32, of the codes at an address."""
    name = NAMES[code]
    if CODES[name].bits == 8:
        columns = [_codes(b, address, LANES * number) for number in range(QUAD)]
    else:
        pairs = [_codes(b, address, LANES * number) for number in range(QUAD // 2)]
        low = [b.and_(pair, constant(I8, 15)) for pair in pairs]
        high = [b.lshr(pair, constant(I8, 4)) for pair in pairs]
        columns = [low[0], high[0], low[1], high[1]]
    if name in _AS_HALF:
        return [widen_half(b, b.bitcast(_AS_HALF[name](b, b.zext(each, V_I16)), V_F16)) for each in columns]
    if name.startswith("u"):
        return [b.sitofp(b.zext(each, V_I32), V_F32) for each in columns]
    return _from_table(b, CODES[name].values, columns)


def _codes(b: ir.IRBuilder, address: Any, offset: int) -> Any:
    return load(b, b.add(address, ir.Constant(I64, offset)), V_CODES)


def _fields(magnitude: int, by: int, sign: int, sign_by: int) -> Callable[[ir.IRBuilder, Any], Any]:
    """Moves the bits of the magnitude and of the sign to where float16 has them."""

    def move(b: ir.IRBuilder, words: Any) -> Any:
        moved = b.shl(b.and_(words, constant(I16, magnitude)), constant(I16, by))
        return b.or_(moved, b.shl(b.and_(words, constant(I16, sign)), constant(I16, sign_by)))

    return move


_AS_HALF = {
    "e4m3": _fields(0x7F, 7, 0x80, 8),
    "e5m2": _fields(0x7F, 8, 0x80, 8),
    "e2m1": _fields(0x7, 9, 0x8, 12),
}


def _from_table(b: ir.IRBuilder, values: Any, columns: list[Any]) -> list[Any]:
    """Each byte of 16 floats is a table of its own."""
    places, planes = joined(b, columns), []
    for byte in range(4):
        entries = np.ascontiguousarray(values).view(np.int8).reshape(-1, 4)[:, byte]
        planes.append(looked_up(b, tuple(int(entry) for entry in entries), places))
    undefined = ir.Constant(planes[0].type, ir.Undefined)
    found = []
    for number in range(QUAD):
        mask = ir.Constant(ir.VectorType(I32, LANES), list(range(LANES * number, LANES * (number + 1))))
        bits: Any = None
        for byte, plane in enumerate(planes):
            part = b.zext(b.shuffle_vector(plane, undefined, mask), V_I32)
            part = b.shl(part, constant(I32, 8 * byte)) if byte else part
            bits = part if bits is None else b.or_(bits, part)
        found.append(b.bitcast(bits, V_F32))
    return found
