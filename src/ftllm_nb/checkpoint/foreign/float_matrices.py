"""Matrices of floats of 8, 6 and 4 bits, as their tensors' types and names tell, whatever the tool that wrote them.

Of a module NAME: `weight` of float8 [out, in] with `weight_scale` or `weight_scale_inv`, of one number, of one for each
output, for each block of outputs and inputs, or for each 32 inputs as a power of two; or, of 4 bits, `weight_packed` or
`weight`, uint8 [out, in / 2], the first of two in the lower bits, with a `weight_scale` for each 16 inputs (NVFP4,
float8, and one more factor or divisor for all) or for each 32 (MXFP4, a power of two). Where a row of `weight_packed`
has 24 bytes for each scale, they are MXFP6: four numbers in three bytes, which become floats of 8 bits, e4m3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.checkpoint.compressed_tensors.packing import unpack_unsigned
from ftllm_nb.checkpoint.foreign.matrix import BlockMatrix, FloatMatrix, ForeignMatrix, ScaledMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.checkpoint.foreign.six_bits import e4m3_of_e2m3
from ftllm_nb.checkpoint.integers import scales_as_float32
from ftllm_nb.quantized_type import BlockedType, ScaledType

_WEIGHT, _PACKED = ".weight", ".weight_packed"
_SCALES = (".weight_scale_inv", ".weight_scale")
_DIVISOR, _FACTOR = ".weight_global_scale", ".weight_scale_2"
_OF_ACTIVATIONS = (".input_scale", ".input_global_scale", ".output_scale", ".k_scale", ".v_scale")
"""The engine reads activations as they are, and rounds its cache on scales of its own."""
_OF_INPUTS = ".pre_quant_scale"
_EIGHT_BITS = {"F8_E4M3": "e4m3", "F8_E5M2": "e5m2"}
_POWERS = ("U8", "F8_E8M0")
"""Types of scales that are exponents."""
_MX_COLUMNS, _NV_COLUMNS, _MX_BYTES = 32, 16, 16
_SIX_BYTES = 24
"""Of the numbers that share a scale, of 6 bits."""
_BLOCK = (128, 128)
_MULTIPLE = 4
"""Of columns, which kernels read at a time."""
Block = tuple[int, int]


def float_matrices(stored: Checkpoint, block: Block = _BLOCK) -> Iterator[ForeignMatrix]:
    """All such matrices. `block`: outputs and inputs that share a scale, where scales are of blocks."""
    for name, info in stored.tensors.items():
        if name.endswith(_WEIGHT) and info.dtype in _EIGHT_BITS:
            yield _of_8_bits(Parts(stored, name.removesuffix(_WEIGHT)), block)
        elif name.endswith(_PACKED) and info.dtype == "U8":
            yield _of_4_bits(Parts(stored, name.removesuffix(_PACKED)), _PACKED)
        elif name.endswith(_WEIGHT) and info.dtype == "U8":
            yield _of_4_bits(Parts(stored, name.removesuffix(_WEIGHT)), _WEIGHT)


def _scales(parts: Parts, dtypes: tuple[str, ...]) -> TensorInfo:
    for ending in _OF_ACTIVATIONS:
        parts.find(ending)
    factors = parts.find(_OF_INPUTS)
    if factors is not None:
        raise parts.error(
            factors.name, "holds factors of a product's inputs, which are not supported: take a model without"
        )
    ending = next((each for each in _SCALES if parts.name + each in parts.stored.tensors), _SCALES[-1])
    return parts.require(ending, dtypes)


def _of_8_bits(parts: Parts, block: Block) -> ForeignMatrix:
    weight = parts.require(_WEIGHT, tuple(_EIGHT_BITS), 2)
    scales = _scales(parts, (*FLOATS, *_POWERS))
    rows, columns = weight.shape
    code = _EIGHT_BITS[str(weight.dtype)]
    found = _spread(parts, weight, scales, block)
    return _matrix(parts, code, (rows, columns), found[0], "FP8", weight.name, found[1])


def _spread(
    parts: Parts, weight: TensorInfo, scales: TensorInfo, block: Block
) -> tuple[int, Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """Columns of a group, 0 for all; what makes of the scales, as float32, those of each row [rows, groups]."""
    (rows, columns), shape = weight.shape, scales.shape
    in_blocks = -(-rows // block[0]), -(-columns // block[1])
    if scales.dtype in _POWERS:
        parts.require_shape(scales, (rows, -(-columns // _MX_COLUMNS)), because=f"{rows} outputs and {columns} inputs")
        return _MX_COLUMNS, lambda found: found
    if int(np.prod(shape)) == 1:
        return 0, lambda found: np.broadcast_to(found.reshape(1, 1), (rows, 1))
    if shape in ((rows,), (rows, 1)):
        return 0, lambda found: found.reshape(rows, 1)
    if shape == in_blocks:
        return block[1], lambda found: np.repeat(found, block[0], axis=0)[:rows]
    raise parts.error(
        scales.name,
        f"has the shape {list(shape)}, but [1], [{rows}, 1] or {list(in_blocks)} was expected for a matrix of "
        f"{[rows, columns]} and blocks of {list(block)}",
    )


def _of_4_bits(parts: Parts, ending: str) -> ForeignMatrix:
    codes = parts.require(ending, ("U8",), 2)
    rows, columns = codes.shape[0], 2 * codes.shape[1]
    scales = _scales(parts, ("F8_E4M3", *_POWERS))
    because = f"{rows} outputs and {columns} inputs"
    if scales.dtype in _POWERS and codes.shape == (rows, _SIX_BYTES * scales.shape[-1]):
        return _of_6_bits(parts, codes, scales.name)
    if scales.dtype in _POWERS:
        parts.require_shape(scales, (rows, columns // _MX_COLUMNS), because=because)
        if columns % _MX_COLUMNS:
            raise parts.error(codes.name, f"has {columns} inputs, which {_MX_COLUMNS} do not divide")
        info = TensorInfo(f"{parts.name}.weight", (rows, columns), BlockedType("MXFP4"), parts.nbytes, "MXFP4")
        return BlockMatrix(info, tuple(parts.used), partial(_mx_rows, parts, codes.name, scales.name))
    parts.require_shape(scales, (rows, -(-columns // _NV_COLUMNS)), because=because)
    factor = parts.find(_DIVISOR) or parts.require(_FACTOR, ("float32",))
    parts.require_type(factor, ("float32",))
    if int(np.prod(factor.shape)) != 1:
        raise parts.error(factor.name, f"has the shape {list(factor.shape)}, but one number was expected")

    def of_rows(found: NDArray[np.float32]) -> NDArray[np.float32]:
        number = parts.stored.read(factor.name).reshape(())
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(found / number if factor.name.endswith(_DIVISOR) else found * number, np.float32)

    return _matrix(parts, "e2m1", (rows, columns), _NV_COLUMNS, "NVFP4", codes.name, of_rows)


def _of_6_bits(parts: Parts, codes: TensorInfo, scales: str) -> ForeignMatrix:
    rows, columns = codes.shape[0], codes.shape[1] * 4 // 3

    def read() -> StoredScaled:
        words = np.ascontiguousarray(parts.stored.read(codes.name)).view("<i4")
        return StoredScaled(e4m3_of_e2m3(unpack_unsigned(words, 6, columns)), _as_float32(parts, scales))

    info = TensorInfo(f"{parts.name}.weight", (rows, columns), ScaledType("e4m3", _MX_COLUMNS), parts.nbytes, "MXFP6")
    return ScaledMatrix(info, tuple(parts.used), read, grows=True)


def _matrix(
    parts: Parts, code: str, shape: Block, group: int, called: str, codes: str,
    of_rows: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> ForeignMatrix:  # fmt: skip
    scales = next(name for name in parts.used if name.endswith(_SCALES))

    def read() -> StoredScaled:
        found = _as_float32(parts, scales)
        return StoredScaled(parts.stored.read(codes).view(np.uint8), np.ascontiguousarray(of_rows(found)))

    dtype = ScaledType(code, group)
    info = TensorInfo(f"{parts.name}.weight", shape, dtype, parts.nbytes, called)
    matrix = ScaledMatrix(info, tuple(parts.used), read)
    if shape[1] % _MULTIPLE == 0 and group % _MULTIPLE == 0:
        return matrix
    return FloatMatrix(TensorInfo(info.name, shape, "float32", info.nbytes, called), matrix.parts, matrix.floats)


def _as_float32(parts: Parts, name: str) -> NDArray[np.float32]:
    """Scales of any type."""
    found, dtype = parts.stored.read(name), parts.stored.tensors[name].dtype
    if dtype in _POWERS:
        require_powers(parts, name, found)
        return powers_of_two(found)
    if dtype == "F8_E4M3":
        return np.asarray(CODES["e4m3"].values[found], np.float32)
    return scales_as_float32(found)


def powers_of_two(exponents: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What exponents of 8 bits mean."""
    return np.asarray(np.ldexp(np.float32(1), exponents.astype(np.int32) - 127), np.float32)


def require_powers(parts: Parts, name: str, exponents: NDArray[np.uint8]) -> None:
    """Raise `CheckpointError` for exponents that mean no number."""
    if exponents.max() == 255:
        raise parts.error(name, "holds scales that are no numbers: download its file again")


def mx_blocks(codes: NDArray[np.uint8], exponents: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ggml's blocks of MXFP4 [..., 17]: an exponent, then 16 bytes of columns 0 … 15 and 16 … 31, of codes [..., 16]
    whose columns follow each other."""
    made: NDArray[np.uint8] = np.empty((*exponents.shape, 1 + _MX_BYTES), np.uint8)
    made[..., 0] = exponents
    halves = np.ascontiguousarray(codes).view(np.uint64)  # eight bytes at a time
    first, second, low, by = halves[..., 0], halves[..., 1], np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(4)
    even = ((first & low) | ((second & low) << by)).view(np.uint8)
    odd = (((first >> by) & low) | (second & ~low)).view(np.uint8)
    pairs = np.stack((even, odd), axis=-1)
    made[..., 1:] = pairs.reshape(*exponents.shape, _MX_BYTES)
    return made


def _mx_rows(parts: Parts, codes: str, scales: str) -> NDArray[np.uint8]:
    exponents: NDArray[Any] = parts.stored.read(scales)
    require_powers(parts, scales, exponents)
    found = parts.stored.read(codes).reshape(*exponents.shape, _MX_BYTES)
    return mx_blocks(found, exponents).reshape(len(exponents), -1)
