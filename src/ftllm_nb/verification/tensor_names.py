"""Which module of a reference holds which tensor of a checkpoint: by name, else by what it holds.

A checkpoint may name its tensors otherwise than the modules do, have a prefix more or less, or hold the matrices of
experts one by one that a module holds as a stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.weight_loading import read_float32

Read = Callable[[], NDArray[Any]]
_FINGERS = 16
"""Numbers at the beginning of a row that tell it from others."""


def modules_of_tensors(checkpoint: Checkpoint, parameters: Mapping[str, Read]) -> dict[str, list[str]]:
    """By tensor of the checkpoint, the modules that hold it. `parameters`: the reference's, by name, to be read."""
    found: dict[str, list[str]] = {}
    by_end: dict[str, list[str]] = {}
    for name in parameters:
        parts = name.split(".")
        for start in range(len(parts)):
            by_end.setdefault(".".join(parts[start:]), []).append(name)
    nameless = []
    for tensor in checkpoint.tensors:
        match = _by_name(tensor, parameters, by_end)
        if match is None:
            nameless.append(tensor)
        else:
            found[tensor] = [match.rpartition(".")[0]]
    if nameless:
        found.update(_by_content(checkpoint, nameless, parameters))
    return found


def _by_name(tensor: str, parameters: Mapping[str, Read], by_end: dict[str, list[str]]) -> str | None:
    if tensor in parameters:
        return tensor
    parts = tensor.split(".")
    for start in range(len(parts) - 1):
        candidates = by_end.get(".".join(parts[start:]), [])
        if candidates and (start == 0 or len(parts) - start > 3):  # a prefix more, or one less
            return candidates[0] if len(candidates) == 1 else None
    return None


def _by_content(
    checkpoint: Checkpoint, tensors: list[str], parameters: Mapping[str, Read]
) -> dict[str, list[str]]:
    known: dict[bytes, list[str]] = {}
    for name, read in parameters.items():
        for row in _first_rows(read(), True):
            known.setdefault(row, []).append(name.rpartition(".")[0])
    found = {}
    for tensor in tensors:
        for row in _first_rows(read_float32(checkpoint, tensor), False):
            modules = list(dict.fromkeys(known.get(row, [])))
            if len(modules) == 1:
                found[tensor] = modules
                break
        checkpoint.release(tensor)
    return found


def _first_rows(array: NDArray[Any], with_halves: bool) -> list[bytes]:
    """How the rows begin with which a matrix does, each matrix of a stack, and each half of it."""
    if array.ndim == 0 or array.size < 2:
        return []
    if array.ndim == 1:
        return [_begin(array)]
    stack = array.reshape(-1, *array.shape[-2:])
    rows = [_begin(matrix[0]) for matrix in stack]
    if with_halves:
        rows += [_begin(matrix[len(matrix) // 2]) for matrix in stack]
        rows += [_begin(matrix[:, 0]) for matrix in stack]
    return rows


def _begin(row: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(row[:_FINGERS], np.float32).tobytes()
