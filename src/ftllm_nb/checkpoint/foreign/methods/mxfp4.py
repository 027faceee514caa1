"""MXFP4, as gpt-oss comes: 4 bits are floats, whose scale is a power of two for each 32 inputs of an output.

Of a stack of experts' matrices NAME, `NAME_blocks` uint8 [experts, out, in / 32, 16] holds the codes, the first of two
in the lower bits, and `NAME_scales` uint8 [experts, out, in / 32] the exponents. Rows of `gate_up_proj` are a gate's
and an up's in turns: they are shown as two stacks, and so is their bias, as GGUF files have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.float_matrices import mx_blocks, require_powers
from ftllm_nb.checkpoint.foreign.matrix import BlockMatrix, ForeignMatrix, PlainMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.checkpoint.safetensors import stored_name
from ftllm_nb.quantized_type import BlockedType

METHODS = ("mxfp4",)
_BLOCKS, _SCALES, _BIAS = "_blocks", "_scales", "_bias"
_PAIRS = "gate_up_proj"
_COLUMNS, _BYTES = 32, 16


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All stacks of the checkpoint, and the biases of those that are shown as two."""
    for name in [name for name in stored.tensors if name.endswith(_BLOCKS)]:
        yield from _stacks(stored, name.removesuffix(_BLOCKS))


def _stacks(stored: Checkpoint, name: str) -> Iterator[ForeignMatrix]:
    parts = Parts(stored, name)
    blocks, scales = parts.require(_BLOCKS, ("U8",)), parts.require(_SCALES, ("U8",))
    if len(blocks.shape) != 4 or blocks.shape[-1] != _BYTES:
        raise parts.error(
            blocks.name, f"has the shape {list(blocks.shape)}, but [experts, out, in / 32, {_BYTES}] was expected"
        )
    experts, rows, groups, _ = blocks.shape
    parts.require_shape(scales, blocks.shape[:-1], because=f"codes of the shape {list(blocks.shape)}")
    used, before = tuple(parts.used), name.removesuffix(_PAIRS)
    names = ("gate_proj", "up_proj") if name.endswith(_PAIRS) else (name.rpartition(".")[2],)
    if rows % len(names):
        raise parts.error(blocks.name, f"has {rows} rows, but as many of gates as of ups were expected")
    bias = stored.tensors.get(name + _BIAS)
    for number, own in enumerate(names):
        base = f"{before}{own}" if len(names) > 1 else name
        each = slice(number, None, len(names))
        shape = experts, rows // len(names), groups * _COLUMNS
        info = TensorInfo(f"{base}.weight", shape, BlockedType("MXFP4"), parts.nbytes // len(names), "MXFP4")
        yield BlockMatrix(info, used, partial(_rows, parts, each))
        if bias is not None:
            parts.require_type(bias, FLOATS)
            parts.require_shape(bias, (experts, rows), because=f"{experts} experts of {rows} rows")
            kind = stored_name(str(bias.dtype))
            info = TensorInfo(f"{base}.bias", shape[:2], bias.dtype, bias.nbytes // len(names), kind)
            yield PlainMatrix(info, (bias.name,), partial(_numbers, stored, bias.name, each))


def _numbers(stored: Checkpoint, name: str, each: slice) -> NDArray[Any]:
    return np.ascontiguousarray(stored.read(name)[:, each])


def _rows(parts: Parts, each: slice) -> NDArray[np.uint8]:
    """Rows of all experts in ggml's blocks."""
    codes = parts.stored.read(parts.name + _BLOCKS)[:, each]
    scales = parts.stored.read(parts.name + _SCALES)[:, each]
    require_powers(parts, parts.name + _SCALES, scales)
    made = np.empty((*scales.shape, 1 + _BYTES), np.uint8)
    for expert, blocks in enumerate(made):  # one at a time, so that what lies between is small
        blocks[:] = mx_blocks(codes[expert], scales[expert])
    return made.reshape(scales.shape[0] * scales.shape[1], -1)
