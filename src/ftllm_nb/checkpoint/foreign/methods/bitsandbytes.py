"""bitsandbytes: floats of 4 bits (nf4 and fp4), also with scales that are quantized themselves, and 8-bit rows.

Of a module NAME, 4 bits: `weight` uint8 [n / 2, 1], or the same bytes as another type (`bnb_4bit_quant_storage`), is
the whole matrix, row after row, the first of two in the upper bits; `weight.absmax` a scale for each run of `blocksize`
numbers, which with `weight.nested_absmax` are codes themselves; `weight.quant_state.bitsandbytes__nf4` JSON with the
shape. 8 bits: `weight` int8, and `SCB`, 127 steps, for each row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredIntegers, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.matrix import FloatMatrix, ForeignMatrix, IntegerMatrix, ScaledMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.quantized_type import QuantizedType, ScaledType

METHODS = ("bitsandbytes",)
_WEIGHT, _ROW_LIMITS = ".weight", ".SCB"
_SCALES, _VALUES = ".weight.absmax", ".weight.quant_map"
_NESTED, _NESTED_VALUES = ".weight.nested_absmax", ".weight.nested_quant_map"
_STATES = {code: f".weight.quant_state.bitsandbytes__{code}" for code in ("nf4", "fp4")}
_RUNS = 32
"""What numbers that share a scale are a multiple of."""
_STEP = np.float32(1 / 127)


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    for name, info in stored.tensors.items():
        module = name.removesuffix(_WEIGHT)
        if not name.endswith(_WEIGHT):
            continue
        if info.dtype == "I8" and module + _ROW_LIMITS in stored.tensors:
            yield _of_8_bits(Parts(stored, module))
        elif info.dtype == "U8" or module + _SCALES in stored.tensors:
            yield _of_4_bits(Parts(stored, module))


def _of_8_bits(parts: Parts) -> ForeignMatrix:
    weight, limits = parts.require(_WEIGHT, ("I8",), 2), parts.require(_ROW_LIMITS, ("float32",))
    parts.find(".weight_format")
    parts.require_shape(limits, weight.shape[:1], because=f"a matrix of {list(weight.shape)}")
    info = TensorInfo(weight.name, weight.shape, QuantizedType(8, 0, "float32"), parts.nbytes, "bitsandbytes int8")

    def read() -> StoredIntegers:
        scales = parts.stored.read(limits.name) * _STEP
        return StoredIntegers(parts.stored.read(weight.name), scales.reshape(-1, 1), None)

    return IntegerMatrix(info, tuple(parts.used), read)


def _of_4_bits(parts: Parts) -> ForeignMatrix:
    codes = parts.require(_WEIGHT, ("U8", *FLOATS))
    code = next((code for code, ending in _STATES.items() if parts.find(ending) is not None), None)
    if code is None:
        raise parts.error(codes.name, "has no quant_state beside it, which says how its bytes are to be read")
    state = _state(parts, _STATES[code])
    (rows, columns), block = state["shape"], state["blocksize"]
    numbers = rows * columns
    if block % _RUNS:
        raise parts.error(codes.name, f"has a scale for {block} numbers; supported are multiples of {_RUNS}")
    if codes.nbytes * 2 != numbers or numbers % block:
        raise parts.error(
            codes.name, f"has {codes.nbytes} bytes, which are no {rows} × {columns} numbers of 4 bits, runs of {block}"
        )
    scales = parts.require(_SCALES, ("U8", "float32"))
    parts.require_shape(scales, (numbers // block,), because=f"{numbers} numbers in runs of {block}")
    values = parts.require(_VALUES, ("float32",))
    parts.require_shape(values, (16,), because="codes of 4 bits")
    if not np.array_equal(parts.stored.read(values.name), CODES[code].values):
        raise parts.error(values.name, f"holds other numbers than those of {code}")
    if scales.dtype == "U8":
        _check_nested(parts, state, numbers // block)
    stored = f"bitsandbytes {code}"
    info = TensorInfo(codes.name, (rows, columns), ScaledType(code, block), parts.nbytes, stored)
    if columns % block == 0:
        return ScaledMatrix(info, tuple(parts.used), partial(_read, parts, state))
    other = TensorInfo(codes.name, (rows, columns), "float32", parts.nbytes, f"{stored} across rows")
    return FloatMatrix(other, tuple(parts.used), partial(_floats, parts, state, code))


def _check_nested(parts: Parts, state: dict[str, Any], count: int) -> None:
    size = state["nested_blocksize"]
    nested, values = parts.require(_NESTED, FLOATS[:1]), parts.require(_NESTED_VALUES, FLOATS[:1])
    because = f"{count} scales in runs of {size}"
    parts.require_shape(nested, (-(-count // size),), because=because)
    parts.require_shape(values, (256,), because=because)


def _state(parts: Parts, ending: str) -> dict[str, Any]:
    """What the JSON beside a matrix says, checked."""
    name = parts.name + ending
    try:
        state = json.loads(np.ascontiguousarray(parts.stored.read(name)).tobytes())
    except (ValueError, RecursionError):
        raise parts.error(name, "is no JSON: download its file again") from None
    state = state if isinstance(state, dict) else {}
    shape, sizes = state.get("shape"), [state.get("blocksize"), state.setdefault("nested_blocksize", 256)]
    is_pair = isinstance(shape, list) and len(shape) == 2
    if not is_pair or not all(type(each) is int and each > 0 for each in (*(shape or ()), *sizes)):
        raise parts.error(name, "names no shape of a matrix and no blocksize")
    if type(state.setdefault("nested_offset", 0.0)) not in (int, float):
        raise parts.error(name, "names a nested_offset that is no number")
    return state


def _scales(parts: Parts, state: dict[str, Any]) -> NDArray[np.float32]:
    """One for each run of numbers."""
    scales: NDArray[Any] = parts.stored.read(parts.name + _SCALES)
    if scales.dtype != np.uint8:
        return scales
    values, nested = (parts.stored.read(parts.name + ending) for ending in (_NESTED_VALUES, _NESTED))
    found = values[scales] * np.repeat(nested, state["nested_blocksize"])[: scales.size]
    return np.asarray(found + np.float32(state["nested_offset"]), np.float32)


def _bytes(parts: Parts) -> NDArray[np.uint8]:
    """The codes, two a byte."""
    return np.ascontiguousarray(parts.stored.read(parts.name + _WEIGHT)).reshape(-1).view(np.uint8)


def _read(parts: Parts, state: dict[str, Any]) -> StoredScaled:
    rows = state["shape"][0]
    codes = _bytes(parts).reshape(rows, -1)
    return StoredScaled((codes << np.uint8(4)) | (codes >> np.uint8(4)), _scales(parts, state).reshape(rows, -1))


def _floats(parts: Parts, state: dict[str, Any], code: str) -> NDArray[np.float32]:
    """Of runs that do not end with rows."""
    codes = _bytes(parts)
    numbers = CODES[code].values[np.stack((codes >> np.uint8(4), codes & np.uint8(15)), axis=-1).reshape(-1)]
    weight = numbers.reshape(-1, state["blocksize"]) * _scales(parts, state)[:, None]
    return np.asarray(weight.reshape(state["shape"]), np.float32)
