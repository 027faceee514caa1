"""GPTQ, as AutoGPTQ, GPTQModel and AutoRound write it: whole numbers with zero points, packed along inputs.

Of a module NAME, `qweight` int32 [in · bits / 32, out] holds the numbers, the first input in the lowest bits; `scales`
[groups, out]; `qzeros` int32 [groups, out · bits / 32] the zero points, in version 1 each less 1; `g_idx` int32 [in]
the group of each input. Where inputs were ordered by their activation (desc_act), groups are not runs of inputs. A
`bias` of zeros that the model does not have may lie beside them, since early versions gave each module one. Numbers of
2 and 3 bits become those of 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredIntegers, TensorInfo
from ftllm_nb.checkpoint.compressed_tensors.packing import WORD_BITS, packed_size, reordered, unpack, unpack_unsigned
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.groups import column_groups, ordered_groups
from ftllm_nb.checkpoint.foreign.matrix import FloatMatrix, ForeignMatrix, IntegerMatrix
from ftllm_nb.checkpoint.foreign.methods import awq
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.checkpoint.integers import scales_as_float32
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE, QuantizedType

METHODS = ("gptq", "auto-round")
BESIDE = "quantize_config.json"
_WEIGHT, _SCALES, _ZEROS, _GROUPS, _BIAS = ".qweight", ".scales", ".qzeros", ".g_idx", ".bias"
_VERSIONS = ("gptq", "gptq_v2")
_BITS = (2, 3, 4, 8)
_KEPT = (4, 8)
"""Bits of our own types."""
_ONES = {2: 0x55555555, 4: 0x11111111, 8: 0x01010101}
"""A one for each number of a word."""
_PACKED, _PACKED_AS_AWQ = "auto_round:auto_gptq", "auto_round:auto_awq"


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    default = entries.whole("bits")
    if default not in _BITS:
        raise entries.error(f"has the bits {default}; supported are {', '.join(map(str, _BITS))}")
    version = entries.one_of("checkpoint_format", _VERSIONS, entries.one_of("format", _VERSIONS, _VERSIONS[0]))
    if "packing_format" in entries:
        packing = entries.one_of("packing_format", (_PACKED, _PACKED_AS_AWQ))
        if packing == _PACKED_AS_AWQ:
            yield from awq.matrices(stored, entries)
            return
    is_old = version == _VERSIONS[0]
    is_symmetric, is_ordered = entries.flag("sym", False), entries.flag("desc_act", False)
    differs = "dynamic" in entries or "extra_config" in entries  # bits, groups and zero points of modules
    for name in [name for name in stored.tensors if name.endswith(_WEIGHT)]:
        module = _Module(stored, name.removesuffix(_WEIGHT), None if differs else default, is_old)
        if is_ordered and not module.is_told and module.count > 1:
            raise module.parts.error(
                f"{module.name}{_GROUPS}", "is missing or zeros, so nothing says how columns are ordered (desc_act)"
            )
        yield module.matrix(is_symmetric and not differs)


class _Module:
    """A quantized module. `bits`: what the config says, None where modules differ."""

    def __init__(self, stored: Checkpoint, name: str, bits: int | None, is_old: bool) -> None:
        self.stored = stored
        self.name = name
        self.is_old = is_old
        self.parts = parts = Parts(stored, name)
        words = parts.require(_WEIGHT, ("I32",), 2)
        scales = parts.require(_SCALES, FLOATS, 2)
        zeros = parts.require(_ZEROS, ("I32",), 2)
        self.count, self.rows = count, _ = scales.shape
        self.bits = bits or _bits_of(zeros, self.rows)
        if self.bits not in _BITS:
            raise parts.error(zeros.name, f"has the shape {list(zeros.shape)}, which is of none of {_BITS} bits")
        self.columns, rest = divmod(words.shape[0] * WORD_BITS, self.bits)
        if rest:
            raise parts.error(
                words.name, f"has {words.shape[0]} rows of words, which numbers of {self.bits} bits do not fill"
            )
        because = f"{self.columns} inputs, {self.rows} outputs and {count} groups of {self.bits} bits"
        parts.require_shape(words, (words.shape[0], self.rows), because=because)
        parts.require_shape(zeros, (count, packed_size(self.rows, self.bits)), because=because)
        self.scales = str(scales.dtype)
        index = column_groups(parts, _GROUPS, self.columns, count, 0, because)
        self.is_told = index is not None
        self.groups = groups = ordered_groups(index, self.columns, count)
        is_runs = groups is not None and groups.order is None
        self.index = None if is_runs else index  # all modules' are kept
        bias = stored.tensors.get(name + _BIAS)
        if bias is not None and not stored.read(bias.name).any():
            parts.find(_BIAS)

    def matrix(self, is_symmetric: bool) -> ForeignMatrix:
        """What is shown. Where `is_symmetric`, zero points must be half the range, and are left out."""
        what, shape = f"GPTQ int{self.bits}", (self.rows, self.columns)
        name, used = f"{self.name}.weight", tuple(self.parts.used)
        fits = self.groups is not None and self.groups.size % COLUMNS_MULTIPLE == 0
        if not fits:
            info = TensorInfo(name, shape, "float32", self.parts.nbytes, f"{what} in other groups")
            return FloatMatrix(info, used, self._floats)
        assert self.groups is not None
        kept = next(bits for bits in _KEPT if bits >= self.bits)
        dtype = QuantizedType(kept, self.groups.size, self.scales, not is_symmetric)
        kind = f"{what}, act-order" if self.groups.order is not None else what
        info = TensorInfo(name, shape, dtype, self.parts.nbytes, kind)
        grows = kept > self.bits
        return IntegerMatrix(info, used, partial(self._integers, is_symmetric), self.groups.order, grows)

    def _integers(self, is_symmetric: bool) -> StoredIntegers:
        zeros: NDArray[np.int8] | None = self._zero_points()
        if is_symmetric:
            assert zeros is not None
            if zeros.any():
                raise self.parts.error(
                    self.name + _ZEROS,
                    "holds zero points that are not half the range, though config.json says sym: true; if they are "
                    "right, say sym: false there",
                )
            zeros = None
        return StoredIntegers(self._numbers(), self.stored.read(self.name + _SCALES).T, zeros)

    def _numbers(self) -> NDArray[np.int32] | NDArray[np.int8]:
        """By group: packed words of our own bits, and others as bytes."""
        assert self.groups is not None
        words, order = self.stored.read(self.name + _WEIGHT), self.groups.order
        if self.bits in _KEPT:
            return np.asarray((words if order is None else reordered(words, self.bits, order)).T)
        numbers = self._unpacked()
        return numbers if order is None else np.take(numbers, order, axis=1)

    def _unpacked(self) -> NDArray[np.int8]:
        """[rows, columns], half the range taken off."""
        words = np.ascontiguousarray(self.stored.read(self.name + _WEIGHT).T)
        return unpack(words, self.bits, self.columns)

    def _zero_points(self) -> NDArray[np.int8]:
        """[rows, groups], half the range taken off."""
        words = self.stored.read(self.name + _ZEROS)
        if self.is_old and self.bits in _ONES:  # the inverse of how they are written: of whole words
            words = (words.view(np.uint32) + np.uint32(_ONES[self.bits])).view(np.int32)
        zeros = unpack_unsigned(words, self.bits, self.rows)
        if self.is_old and self.bits not in _ONES:
            zeros = (zeros + np.uint8(1)) & np.uint8((1 << self.bits) - 1)
        return np.ascontiguousarray((zeros - np.uint8(1 << (self.bits - 1))).view(np.int8).T)

    def _floats(self) -> NDArray[np.float32]:
        """Each input's own group looked up."""
        index = np.arange(self.columns) // -(-self.columns // self.count) if self.index is None else self.index
        scales = scales_as_float32(self.stored.read(self.name + _SCALES)).T
        weight = self._unpacked().astype(np.float32)
        weight -= self._zero_points()[:, index]
        weight *= scales[:, index]
        return weight


def _bits_of(zeros: TensorInfo, rows: int) -> int:
    """The bits with which so many zero points fill the words."""
    return zeros.shape[1] * WORD_BITS // rows
