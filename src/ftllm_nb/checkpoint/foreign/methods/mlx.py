"""MLX's folders: whole numbers of 2 to 8 bits with a scale and an offset for a group of inputs, and floats of few bits.

Of a module NAME, `weight` uint32 [out, in · bits / 32] holds the numbers, the first in the lowest bits. In the mode
affine, `scales` and `biases` [out, groups] lie beside them; in mxfp4 and mxfp8 `scales` uint8 are exponents, in nvfp4
they are e4m3. Modules may differ from config.json's `quantization`, which then has entries of their names. Experts are
stacked, [experts, out, …], as `switch_mlp`: they are shown as transformers has them, a matrix each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.checkpoint.compressed_tensors.packing import WORD_BITS, unpack_unsigned
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.float_matrices import mx_blocks, powers_of_two, require_powers
from ftllm_nb.checkpoint.foreign.matrix import BlockMatrix, ForeignMatrix, ScaledMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.quantized_type import BlockedType, ScaledType

METHODS = ("mlx",)
SECTION = "quantization"
_WEIGHT, _SCALES, _OFFSETS = ".weight", ".scales", ".biases"
_BITS = (2, 3, 4, 5, 6, 8)
_AFFINE, _MULTIPLE = "affine", 32
_STACK, _MIXTRAL = ".switch_mlp.", "block_sparse_moe"
_MIXTRAL_NAMES = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


class _Kind(NamedTuple):
    """What the matrices of a module are. `read`: of an expert's number, or None where there is no stack."""

    dtype: ScaledType | BlockedType
    columns: int
    called: str
    read: Callable[[int | None], Any]
    grows: bool = False


class _Mode(NamedTuple):
    """Floats of `bits` bits in groups of `group`; `code`: which floats."""

    bits: int
    group: int
    code: str


_MODES = {"mxfp4": _Mode(4, 32, "e2m1"), "nvfp4": _Mode(4, 16, "e2m1"), "mxfp8": _Mode(8, 32, "e4m3")}
_POWERS = ("mxfp4", "mxfp8")
"""Of which scales are exponents."""


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    for name, info in stored.tensors.items():
        if name.endswith(_WEIGHT) and info.dtype == "U32":
            module = name.removesuffix(_WEIGHT)
            yield from _matrices(Parts(stored, module), _own(entries, module, entries.section.get(module)))


def _own(entries: Entries, module: str, own: Any) -> Entries:
    """The entries of a module, of which `own` is said."""
    if own is None or own is True:
        return entries
    if not isinstance(own, Mapping):
        raise entries.error(f"says {shown(own)} of {module}, whose weights are quantized")
    return Entries({**entries.section, **own}, f"{entries.where}.{module}")


def _matrices(parts: Parts, entries: Entries) -> Iterator[ForeignMatrix]:
    """One, or those of a stack."""
    mode = entries.one_of("mode", (_AFFINE, *_MODES), _AFFINE)
    words = parts.require(_WEIGHT, ("U32",), 3 if _STACK in parts.name else 2)
    kind = _affine(parts, entries, words) if mode == _AFFINE else _floats(parts, entries, words, mode)
    *stack, rows, _ = words.shape
    used = tuple(parts.used)
    for number, name in enumerate(_names(parts.name, *stack)):
        shape, size = (rows, kind.columns), parts.nbytes // math.prod(stack)
        info, one = TensorInfo(f"{name}.weight", shape, kind.dtype, size, kind.called), number if stack else None
        if isinstance(kind.dtype, BlockedType):
            yield BlockMatrix(info, used, partial(kind.read, one))
        else:
            yield ScaledMatrix(info, used, partial(kind.read, one), kind.grows)


def _affine(parts: Parts, entries: Entries, words: TensorInfo) -> _Kind:
    """Whole numbers with scales and offsets; of 2 and 3 bits they become those of 4, of 5 and 6 bits those of 8."""
    bits, group = entries.whole("bits"), entries.whole("group_size", 64)
    if bits not in _BITS:
        raise entries.error(f"has the bits {bits}; supported are {', '.join(map(str, _BITS))}")
    if group <= 0 or group % _MULTIPLE:
        raise entries.error(f"has the group_size {group}; supported are multiples of {_MULTIPLE}")
    scales = parts.require(_SCALES, FLOATS)
    columns, kept = words.shape[-1] * WORD_BITS // bits, 4 if bits <= 4 else 8
    because = f"{words.shape[-2]} outputs and {columns} inputs of {bits} bits in groups of {group}"
    dtype = ScaledType(f"u{kept}", group, str(scales.dtype), offsets=True)
    parts.require_shape(scales, (*words.shape[:-1], dtype.groups(columns)), because=because)
    offsets = parts.require(_OFFSETS, (str(scales.dtype),))
    parts.require_shape(offsets, scales.shape, because=because)

    def read(expert: int | None) -> StoredScaled:
        numbers, each, added = (_part(parts, ending, expert) for ending in (_WEIGHT, _SCALES, _OFFSETS))
        if kept == bits:
            return StoredScaled(_bytes(numbers), each, added)
        codes = unpack_unsigned(numbers.view("<i4"), bits, columns)
        return StoredScaled(codes if kept == 8 else codes[:, ::2] | codes[:, 1::2] << np.uint8(4), each, added)

    return _Kind(dtype, columns, f"MLX int{bits}", read, kept > bits)


def _floats(parts: Parts, entries: Entries, words: TensorInfo, mode: str) -> _Kind:
    """Floats of few bits, as other tools have them."""
    bits, group, code = _MODES[mode]
    for name, expected in (("bits", bits), ("group_size", group)):
        if entries.whole(name, expected) != expected:
            raise entries.error(f"has the {name} {entries.whole(name)}, but {expected} was expected of {mode}")
    scales = parts.require(_SCALES, ("U8",))
    columns = words.shape[-1] * WORD_BITS // bits
    because = f"{words.shape[-2]} outputs and {columns} inputs in groups of {group}"
    if columns % group:
        raise parts.error(words.name, f"has {columns} inputs, which {group} do not divide")
    parts.require_shape(scales, (*words.shape[:-1], columns // group), because=because)

    def factors(expert: int | None) -> NDArray[np.uint8]:
        found = _part(parts, _SCALES, expert)
        if mode in _POWERS:
            require_powers(parts, scales.name, found)
        return found

    def blocks(expert: int | None) -> NDArray[np.uint8]:
        exponents = factors(expert)
        codes = _bytes(_part(parts, _WEIGHT, expert)).reshape(*exponents.shape, -1)
        return mx_blocks(codes, exponents).reshape(len(exponents), -1)

    def scaled(expert: int | None) -> StoredScaled:
        found = factors(expert)
        each = powers_of_two(found) if mode in _POWERS else CODES["e4m3"].values[found]
        return StoredScaled(_bytes(_part(parts, _WEIGHT, expert)), each)

    if mode == "mxfp4":
        return _Kind(BlockedType("MXFP4"), columns, "MLX mxfp4", blocks)
    return _Kind(ScaledType(code, group), columns, f"MLX {mode}", scaled)


def _names(module: str, experts: int | None = None) -> list[str]:
    """What transformers calls the modules that a module stands for."""
    if experts is None:
        return [module]
    mixture, _, own = module.partition(_STACK)
    own = _MIXTRAL_NAMES.get(own, own) if mixture.endswith(_MIXTRAL) else own
    return [f"{mixture}.experts.{expert}.{own}" for expert in range(experts)]


def _part(parts: Parts, ending: str, expert: int | None) -> NDArray[Any]:
    found = parts.stored.read(parts.name + ending)
    return np.ascontiguousarray(found if expert is None else found[expert])


def _bytes(words: NDArray[np.uint32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(words, "<u4").view(np.uint8)
