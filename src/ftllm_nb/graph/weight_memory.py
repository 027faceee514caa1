"""Memory for the matrices of a program: those that are packed together, and those that lie somewhere already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.ir import FormatOf, Node, Value
from ftllm_nb.memory import Slabs
from ftllm_nb.ops.lowering import PackedMatrices, PackedWeight
from ftllm_nb.quant.base import WeightFormat

Placed = Callable[[Value, WeightFormat], NDArray[np.uint8] | None]
"""The packed bytes of a matrix, or of a stack of them, that lies in memory already; None for others."""
Allocate = Callable[[int, str, Callable[[int], NDArray[np.uint8]]], NDArray[np.uint8]]
"""Memory of a size, what it is for, and who gives it."""


@dataclass(frozen=True)
class WeightPart:
    """A matrix of the checkpoint and the address at which its packed form goes, or lies already: `in_place`."""

    weight: Value
    address: int
    format: WeightFormat
    in_place: bool = False


@dataclass
class WeightMemory:
    """Where matrices lie. `parts`: all of them; `held`: keeps alive what lies elsewhere; `scratch_bytes`: what a worker
    needs to pack them; `slabs`: who gives memory. A group that is asked for again is where it was."""

    format_of: FormatOf
    placed: Placed
    allocate: Allocate
    parts: list[WeightPart]
    held: list[NDArray[np.uint8]]
    slabs: Slabs
    scratch_bytes: int = 0
    _packed: dict[tuple[Value, ...], PackedWeight] = field(default_factory=dict)
    _stacks: dict[tuple[Value, ...], PackedMatrices] = field(default_factory=dict)

    def weight(self, node: Node, tensors: Sequence[Value]) -> PackedWeight:
        """Matrices one after the other."""
        key = tuple(tensors)
        if key not in self._packed:
            chosen, columns = self._one_format(node, tensors), tensors[0].type.size(-1)
            shapes = [tensor.type.matrices for tensor in tensors]
            sizes = [count * chosen.packed_bytes(rows, columns) for count, rows, _ in shapes]
            memory = self.allocate(sum(sizes), f'the weight "{tensors[0].name}"', self.slabs.take)
            address = int(memory.ctypes.data)
            for number, tensor in enumerate(tensors):
                self.parts.append(WeightPart(tensor, address + sum(sizes[:number]), chosen))
            self.scratch_bytes = max(self.scratch_bytes, chosen.pack_scratch_bytes(columns))
            block_bytes = chosen.block_bytes(columns)
            self._packed[key] = PackedWeight(
                address, sum(sizes) // block_bytes, block_bytes, chosen.padded_columns(columns), chosen
            )
        return self._packed[key]

    def matrices(self, node: Node, tensors: Sequence[Value]) -> PackedMatrices:
        """Matrices of one shape: all where they lie already, or else one after the other."""
        key = tuple(tensors)
        if key not in self._stacks:
            format = self._one_format(node, tensors)
            _, rows, columns = tensors[0].type.matrices
            size, block_bytes = format.packed_bytes(rows, columns), format.block_bytes(columns)
            found = [self.placed(tensor, format) for tensor in tensors]
            stacks = [each for each in found if each is not None]
            if len(stacks) == len(found):
                begins = [int(each.ctypes.data) for each in stacks]
                self.held += stacks
                self.parts += [WeightPart(*each, format, True) for each in zip(tensors, begins, strict=True)]
            else:
                begins = [self.weight(node, tensors).address]
                for tensor in tensors[:-1]:
                    begins.append(begins[-1] + tensor.type.matrices[0] * size)
            addresses = (
                begin + number * size
                for begin, tensor in zip(begins, tensors, strict=True)
                for number in range(tensor.type.matrices[0])
            )
            self._stacks[key] = PackedMatrices(
                tuple(addresses), size // block_bytes, block_bytes, format.padded_columns(columns), format
            )
        return self._stacks[key]

    def _one_format(self, node: Node, tensors: Sequence[Value]) -> WeightFormat:
        """The format that matrices have which are packed together."""
        chosen = self.format_of(tensors[0])
        for tensor in tensors:
            if tensor not in node.packed:
                raise _error(
                    node,
                    f'packs weight "{tensor.name}", but its Parameter does not say by what it is multiplied: give '
                    'it multiplies="NAME", the parameter whose rows it multiplies.',
                )
            if self.format_of(tensor) != chosen:
                raise _error(
                    node,
                    f'packs weights "{tensors[0].name}" and "{tensor.name}" together, which need one type, but '
                    f"would become {chosen.name} and {self.format_of(tensor).name}: a rule of --dtype_config must "
                    "be for both.",
                )
        return chosen


def _error(node: Node, sentence: str) -> GraphError:
    return node.call.error(sentence)
