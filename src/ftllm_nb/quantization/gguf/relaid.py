"""A model as its architecture in GGUF has it: experts that lie one by one as stacks, gates and ups apart."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping

import numpy as np

from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.base import StoredIntegers
from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.made import Array, Made, Piece, Relaid
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.weight_steps import Transposed
from ftllm_nb.ops.merge_moe import MergeMOE, gates_and_ups
from ftllm_nb.quantized_type import is_quantized

_STACK = "blk.*.ffn_{}_exps"


class RelaidCheckpoint(Checkpoint):
    """Another checkpoint, `stored`, some of whose tensors became others; made by `relaid`."""

    def __init__(self, stored: Checkpoint, how: Relaid) -> None:
        """Raises `CheckpointError` for tensors that are quantized and would have to be cut."""
        self.path = stored.path
        self.config = copy.deepcopy(stored.config) | dict(how.config)
        self.generation_config = stored.generation_config
        self.tokenizer_config = stored.tokenizer_config
        self.tokenizer_metadata = stored.tokenizer_metadata
        self.stored, self._made = stored, how.made
        used = {piece.name for each in how.made.values() for piece in each.pieces}
        self.tensors = {name: info for name, info in stored.tensors.items() if name not in used}
        self.tensors |= {name: self._info(name, each) for name, each in how.made.items()}

    def _info(self, name: str, made: Made) -> TensorInfo:
        parts = [self.stored.tensors[piece.name] for piece in made.pieces]
        first, is_cut = parts[0], made.computes or any(piece.change for piece in made.pieces)
        if any(part.dtype != first.dtype for part in parts) or (is_cut and is_quantized(first.dtype)):
            raise CheckpointError(
                f"{self.path} has {first.name} as {first.dtype}, and what a GGUF file has in its place, {name}, cannot "
                "be made of that: name the float model that it was made from."
            )
        share = sum(part.nbytes * math.prod(made.shape) // len(parts) // math.prod(part.shape) for part in parts)
        return TensorInfo(name, made.shape, "float32" if made.computes else first.dtype, share, first.stored)

    def parts(self, name: str) -> list[str] | None:
        """The stored tensors that a tensor is when they lie one after the other; None where it is more than that."""
        made = self._made.get(name)
        if made is None:
            return [name]
        return None if made.computes or any(each.change for each in made.pieces) else [p.name for p in made.pieces]

    def pieces(self, name: str) -> Iterator[Array]:
        """The tensor, some rows at a time."""
        made = self._made.get(name)
        if made is None:
            yield self.stored.read(name)
            return
        for piece in made.pieces:
            array = self.stored.read(piece.name)
            if made.computes:
                array = bfloat16_as_float32(array) if array.dtype == np.uint16 else array.astype(np.float32)
            yield array if piece.change is None else piece.change(array)
            self.stored.release(piece.name)

    def read(self, name: str) -> Array:
        """See `Checkpoint.read`."""
        made = self._made.get(name)
        if made is None:
            return self.stored.read(name)
        return np.concatenate([each.reshape(-1, *made.shape[1:]) for each in self.pieces(name)]).reshape(made.shape)

    def read_into(self, name: str, start: int, target: Array) -> None:
        """See `Checkpoint.read_into`."""
        if name in self._made:
            super().read_into(name, start, target)
        else:
            self.stored.read_into(name, start, target)

    def read_integers(self, name: str) -> StoredIntegers:
        """See `Checkpoint.read_integers`; of a stack the first one's form is everybody's."""
        return self.stored.read_integers(name)

    def read_blocks(self, name: str) -> Array:
        """See `Checkpoint.read_blocks`."""
        return self.stored.read_blocks(name)

    def release(self, name: str) -> None:
        """Give back the pages of what the tensor is made of."""
        made = self._made.get(name)
        for each in [name] if made is None else [piece.name for piece in made.pieces]:
            self.stored.release(each)

    def close(self) -> None:
        """Close the checkpoint."""
        self.stored.close()


def relaid(checkpoint: Checkpoint, graph: CheckedGraph, architecture: type[Architecture]) -> Checkpoint:
    """The checkpoint as the architecture lays it out; itself where that is the same."""
    shapes = {name: info.shape for name, info in checkpoint.tensors.items()}
    own = architecture.relaid(graph.config, shapes)
    made: dict[str, Made] = dict(own.made)
    for node in graph.nodes:
        if node.operator is MergeMOE:
            made |= _stacks_of(node, shapes, architecture.names)
    return RelaidCheckpoint(checkpoint, Relaid(made, own.config)) if made or own.config else checkpoint


def _stacks_of(node: Node, shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str]) -> dict[str, Made]:
    """A mixture's stacks and their biases, by the names that reading gives them; {} where it has them already."""
    lists = MergeMOE.joined(node.inputs)
    kinds = {"gate": "gate", "up": "up", "down": "down"}
    joined = not lists["up"]
    if joined and _STACK.format("gate") not in names:
        kinds = {"up": "gate", "down": "down"} if _STACK.format("up") in names else {}
        joined = False
    found: dict[str, Made] = {}
    for kind, parameter in kinds.items():
        is_part = joined and kind != "down"
        matrices: list[Value] = lists["gate" if is_part else parameter]
        biases: list[Value] = lists[f"{'gate' if is_part else parameter}Bias"]
        at = f"{_experts_of(matrices[0].tensor)}.{names[_STACK.format(kind)].rpartition('.')[2]}"
        rows = slice(None)
        if is_part:
            rows = gates_and_ups(node.attributes["gateType"], matrices[0].type.matrices[1])[kind == "up"]
        found[f"{at}.weight"] = _stack(matrices, shapes, rows, is_part)
        if biases:
            found[f"{at}.bias"] = _biases(biases, shapes, rows, is_part)
    return {name: each for name, each in found.items() if each.pieces != (Piece(name),)}


def _stack(matrices: list[Value], shapes: Mapping[str, tuple[int, ...]], rows: slice, is_part: bool) -> Made:
    """All experts' matrices, of a stack or one by one: some of their rows."""
    first = matrices[0]
    is_turned = first.computed is not None and first.computed.steps == (Transposed(),)
    shape = shapes[first.tensor]
    *_, height, width = (*shape[:-2], *shape[:-3:-1]) if is_turned else shape
    count = shape[0] if len(shape) == 3 else len(matrices)

    def change(array: Array) -> Array:
        return (array.swapaxes(-1, -2) if is_turned else array)[..., rows, :]

    height = len(range(*rows.indices(height)))
    changes = change if is_turned or is_part else None
    return Made((count, height, width), tuple(Piece(value.tensor, changes) for value in matrices))


def _biases(vectors: list[Value], shapes: Mapping[str, tuple[int, ...]], rows: slice, is_part: bool) -> Made:
    """All experts' biases, of a matrix or one by one: some of their numbers."""
    names = list(dict.fromkeys(value.tensor for value in vectors))

    def change(array: Array) -> Array:
        return array[..., rows]

    count = len(range(*rows.indices(shapes[names[0]][-1])))
    return Made((len(vectors), count), tuple(Piece(name, change if is_part else None) for name in names))


def _experts_of(tensor: str) -> str:
    """What the names of experts begin with, by that of a stack or of one expert's matrix."""
    head, dot, _ = tensor.rpartition(".experts.")
    return f"{head}.experts" if dot else f"{tensor.removesuffix('.weight').rpartition('.')[0]}.experts"
