"""A checkpoint in the compressed-tensors layout, shown as if each quantized matrix were one tensor, `NAME.weight`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredIntegers, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.compressed_tensors.config import QuantizationConfig
from ftllm_nb.checkpoint.compressed_tensors.packing import packed_size, reordered, unpack, unpack_zero_points
from ftllm_nb.checkpoint.compressed_tensors.scheme import KEPT, WeightScheme
from ftllm_nb.checkpoint.compressed_tensors.tensors import COLUMN_GROUPS, PACKED, SCALE, SHAPE, WEIGHT, ZERO_POINT
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.foreign.groups import column_groups, in_input_order, ordered_groups
from ftllm_nb.checkpoint.foreign.notes import growth_notes
from ftllm_nb.checkpoint.foreign.parts import Parts
from ftllm_nb.checkpoint.integers import scales_as_float32, stand_for
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import QuantizedType

_ACTIVATIONS = (".input_scale", ".input_zero_point", ".output_scale", ".output_zero_point")
"""Of activations that are rounded on a fixed scale: the engine measures each token's own, which is never worse."""
_SCALES = ("float32", "float16", "bfloat16")
_WHOLE_NUMBERS = ("I8", "I16", "I32", "I64")


@dataclass(frozen=True)
class _Module:
    """A quantized module: what it is called, how it is stored, its matrix's shape, its tensors by their endings, and
    which column comes to each place of its groups, None where they are runs of columns."""

    name: str
    scheme: WeightScheme
    shape: tuple[int, int]
    tensors: Mapping[str, TensorInfo]
    order: NDArray[np.int32] | None = None

    @property
    def is_packed(self) -> bool:
        return PACKED in self.tensors

    @property
    def grows(self) -> bool:
        """Whether its numbers take more bits in memory."""
        return self.is_packed and self.scheme.bits not in KEPT

    @property
    def weight_name(self) -> str:
        """Of the tensor that holds the numbers."""
        return self.name + (PACKED if self.is_packed else WEIGHT)

    @property
    def groups(self) -> int:
        return self.scheme.groups(self.shape[1])

    @property
    def info(self) -> TensorInfo:
        """The one tensor that the module's tensors are shown as."""
        scales = self.tensors[SCALE].dtype
        dtype = QuantizedType(self.scheme.kept_bits, self.scheme.group, str(scales), ZERO_POINT in self.tensors)
        size = sum(tensor.nbytes for tensor in self.tensors.values())
        return TensorInfo(self.name + WEIGHT, self.shape, dtype, size, f"int{self.scheme.bits}" if self.grows else "")


class QuantizedCheckpoint(Checkpoint):
    """Another checkpoint, its quantized modules' tensors put together; made by `open_checkpoint`."""

    def __init__(self, stored: Checkpoint, quantization: QuantizationConfig) -> None:
        """Check the headers of all quantized modules; CheckpointError names the tensor that does not fit."""
        self.path = stored.path
        self.config = stored.config
        self.generation_config = stored.generation_config
        self.tokenizer_config = stored.tokenizer_config
        self._stored = stored
        self._modules: dict[str, _Module] = {}
        tensors = dict(stored.tensors)
        for name, info in stored.tensors.items():
            module = _module_of(name, info)
            if module is None:
                continue
            endings = (WEIGHT, PACKED, SCALE, ZERO_POINT, SHAPE, COLUMN_GROUPS, *_ACTIVATIONS)
            parts = {ending: tensors.pop(module + ending) for ending in endings if module + ending in tensors}
            checked = self._checked(module, parts, quantization)
            self._modules[checked.info.name] = checked
            tensors[checked.info.name] = checked.info
        self.tensors = tensors
        grown = [module.info for module in self._modules.values() if module.grows]
        self.notes = [*stored.notes, *growth_notes((info.stored, info.dtype) for info in grown)]

    def _checked(self, name: str, parts: dict[str, TensorInfo], quantization: QuantizationConfig) -> _Module:
        if WEIGHT in parts and PACKED in parts:
            raise self._error(name + PACKED, f"lies beside {shown(name + WEIGHT)}: one of the two is expected")
        weight = parts.get(PACKED) or parts[WEIGHT]
        scheme = quantization.scheme_of(name, _class_of(name))
        if scheme is None:
            raise self._error(weight.name, "is quantized, but quantization_config in config.json leaves it out")
        shape = self._shape(name, weight, scheme, parts)
        if scheme.group and shape[1] % scheme.group:
            raise self._error(
                weight.name, f"has {shape[1]} columns, which groups of {scheme.group} do not divide evenly"
            )
        used = {ending: part for ending, part in parts.items() if ending not in _ACTIVATIONS}
        module = _Module(name, scheme, shape, used, self._order(name, scheme, shape))
        self._check_scales(module)
        self._check_zero_points(module)
        return module

    def _order(self, name: str, scheme: WeightScheme, shape: tuple[int, int]) -> NDArray[np.int32] | None:
        """Which column comes to each place where groups are not runs of columns, None where they are."""
        parts, count = Parts(self._stored, name), scheme.groups(shape[1])
        because = f"{shape[1]} columns in {count} groups"
        index = column_groups(parts, COLUMN_GROUPS, shape[1], count, -1, because)
        if not parts.used and scheme.is_ordered and count > 1:
            raise self._error(name + COLUMN_GROUPS, "is missing, which says how columns are ordered (actorder)")
        groups = ordered_groups(index, shape[1], count)
        if groups is None:
            raise self._error(name + COLUMN_GROUPS, f"makes no groups of {scheme.group} columns each")
        return groups.order

    def _shape(
        self, name: str, weight: TensorInfo, scheme: WeightScheme, parts: Mapping[str, TensorInfo]
    ) -> tuple[int, int]:
        """[rows, columns] of a matrix whose numbers lie in `weight`."""
        if len(weight.shape) != 2 or 0 in weight.shape:
            raise self._error(weight.name, f"has the shape {list(weight.shape)}, but [rows, columns] was expected")
        if PACKED not in parts:
            return weight.shape[0], weight.shape[1]
        if weight.dtype != "I32":
            raise self._error(weight.name, f"is of type {weight.dtype}, but packed numbers are I32")
        if SHAPE not in parts:
            raise self._error(weight.name, f"has no shape beside it: {shown(name + SHAPE)} is missing")
        if math.prod(parts[SHAPE].shape) != 2 or parts[SHAPE].dtype not in _WHOLE_NUMBERS:
            raise self._error(name + SHAPE, "is no pair of whole numbers")
        rows, columns = (int(size) for size in self._stored.read(name + SHAPE).reshape(2))
        expected = [rows, packed_size(columns, scheme.bits)]
        if list(weight.shape) != expected or columns <= 0:
            raise self._error(
                weight.name,
                f"has the shape {list(weight.shape)}, but {shown(name + SHAPE)} is [{rows}, {columns}], which "
                f"{scheme.bits} bits pack into {expected}",
            )
        return rows, columns

    def _check_scales(self, module: _Module) -> None:
        scales = module.tensors.get(SCALE)
        if scales is None:
            raise self._error(module.weight_name, f"has no scales: {shown(module.name + SCALE)} is missing")
        if scales.dtype not in _SCALES:
            raise self._error(scales.name, f"is of type {scales.dtype}; supported are {', '.join(_SCALES)}")
        self._check_shape(scales, module, [module.shape[0], module.groups])

    def _check_zero_points(self, module: _Module) -> None:
        zero_points, rows = module.tensors.get(ZERO_POINT), module.shape[0]
        if zero_points is None:
            if not module.scheme.symmetric:
                raise self._error(
                    module.weight_name, f"has no zero points: {shown(module.name + ZERO_POINT)} is missing"
                )
            return
        known = ("I32",) if module.is_packed else _WHOLE_NUMBERS
        if zero_points.dtype not in known:
            raise self._error(zero_points.name, f"is of type {zero_points.dtype}; supported are {', '.join(known)}")
        words = packed_size(rows, module.scheme.bits) if module.is_packed else rows
        self._check_shape(zero_points, module, [words, module.groups])

    def _check_shape(self, tensor: TensorInfo, module: _Module, expected: list[int]) -> None:
        """A row's only value may lack its axis, and that of all rows both."""
        found = list(tensor.shape)
        if module.scheme.is_whole:
            found, expected = found or [1], [1]
        if found != expected and [*found, 1] != expected:
            raise self._error(
                tensor.name,
                f"has the shape {found}, but {expected} was expected for a matrix of {list(module.shape)} in the "
                f"format {module.scheme.name}",
            )

    def _error(self, name: str, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: tensor {shown(name)} {what}.")

    def read(self, name: str) -> NDArray[Any]:
        """The tensor; a quantized matrix as the float32 that its numbers stand for."""
        module = self._modules.get(name)
        if module is None:
            return self._stored.read(name)
        stored, columns = self._integers(module), module.shape[1]
        numbers = stored.numbers
        if numbers.dtype != np.int8:
            numbers = unpack(numbers, module.scheme.bits, columns)
        self._check_range(module, WEIGHT, numbers)
        if not np.isfinite(scales_as_float32(stored.scales)).all():
            raise self._error(module.name + SCALE, "holds numbers that are not finite: download its file again")
        assert isinstance(module.info.dtype, QuantizedType)
        weight = stand_for(StoredIntegers(numbers, stored.scales, stored.zero_points), module.info.dtype, columns)
        if module.order is not None:
            weight = in_input_order(weight, module.order)
        weight.flags.writeable = False
        return weight

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`."""
        if name in self._modules:
            super().read_into(name, start, target)
        else:
            self._stored.read_into(name, start, target)

    def read_integers(self, name: str) -> StoredIntegers:
        """See `Checkpoint.read_integers`."""
        module = self._modules.get(name)
        return super().read_integers(name) if module is None else self._integers(module)

    def _integers(self, module: _Module) -> StoredIntegers:
        """As stored, but that columns are ordered by their groups, and that numbers of bits that no type here has come
        as bytes."""
        numbers, columns = self._stored.read(module.weight_name), module.shape[1]
        if module.grows:
            numbers = unpack(numbers, module.scheme.bits, columns)
        if module.order is not None and module.is_packed and not module.grows:
            numbers = reordered(np.ascontiguousarray(numbers.T), module.scheme.bits, module.order).T
        elif module.order is not None:
            numbers = np.take(numbers, module.order, axis=1)
        return StoredIntegers(numbers, self._of_groups(module, SCALE), self._zero_points(module))

    def _of_groups(self, module: _Module, ending: str) -> NDArray[Any]:
        """A tensor with a number for each group, or for all, as [rows, groups]."""
        stored, shape = self._stored.read(module.name + ending), (module.shape[0], module.groups)
        return np.broadcast_to(stored.reshape(1, 1), shape) if module.scheme.is_whole else stored.reshape(shape)

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.read_blocks`."""
        return self._stored.read_blocks(name)

    def read_scaled(self, name: str) -> StoredScaled:
        """See `Checkpoint.read_scaled`."""
        return self._stored.read_scaled(name)

    def column_order(self, name: str) -> NDArray[np.int32] | None:
        """See `Checkpoint.column_order`."""
        module = self._modules.get(name)
        return None if module is None else module.order

    def _zero_points(self, module: _Module) -> NDArray[np.int8] | None:
        if ZERO_POINT not in module.tensors:
            return None
        stored, bits = self._stored.read(module.name + ZERO_POINT), module.scheme.bits
        if module.is_packed:
            return unpack_zero_points(stored.reshape(-1, module.groups), bits, module.shape[0])
        self._check_range(module, ZERO_POINT, stored)
        return self._of_groups(module, ZERO_POINT).astype(np.int8)

    def _check_range(self, module: _Module, ending: str, numbers: NDArray[Any]) -> None:
        half = 1 << (module.scheme.bits - 1)
        if numbers.min() < -half or numbers.max() >= half:
            raise self._error(
                module.name + ending,
                f"holds {numbers.min()} … {numbers.max()}, but {module.scheme.bits} bits hold {-half} … {half - 1}",
            )

    def release(self, name: str) -> None:
        """Give back the pages of the tensor, or of all that a quantized matrix consists of."""
        module = self._modules.get(name)
        for part in [name] if module is None else [part.name for part in module.tensors.values()]:
            self._stored.release(part)

    def close(self) -> None:
        """Close the checkpoint below."""
        self._stored.close()


def _module_of(name: str, info: TensorInfo) -> str | None:
    """The module of a tensor that holds a quantized matrix's numbers, None for all others."""
    if name.endswith(PACKED):
        return name.removesuffix(PACKED)
    return name.removesuffix(WEIGHT) if name.endswith(WEIGHT) and info.dtype == "I8" else None


def _class_of(module: str) -> str:
    """The class that a config's targets call it by: tables are known by their names alone."""
    return "Embedding" if "embed" in module.rpartition(".")[2] else "Linear"
