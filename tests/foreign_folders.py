"""Model folders as other tools quantize them, made from folders of floats by packers of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.checkpoint.compressed_tensors import WeightScheme
from ftllm_nb.checkpoint.safetensors import stored_name
from ftllm_nb.engine.weight_loading import read_float32
from tests.golden.foreign_matrices import write_typed
from tests.quantized_folders import quantized

Parts = dict[str, tuple[str, NDArray[Any]]]
"""Endings of tensors' names, with their types as safetensors names them."""


def foreign_folder(
    source: Path,
    target: Path,
    section: dict[str, Any],
    make: Callable[[str, NDArray[np.float32]], Parts],
    *,
    only: str = "_proj",
    entry: str = "quantization_config",
) -> Path:
    """Copy a folder, each matrix in whose name `only` is found as what `make` makes of its module's name and floats."""
    shutil.copytree(source, target)
    tensors: Parts = {}
    with open_checkpoint(source) as checkpoint:
        for name, info in checkpoint.tensors.items():
            module = name.removesuffix(".weight")
            if only in name and len(info.shape) > 1:
                made = make(module, read_float32(checkpoint, name))
                tensors |= {f"{module}{ending}": part for ending, part in made.items()}
            else:
                tensors[name] = stored_name(str(info.dtype)), checkpoint.read(name)
    write_typed(target / "model.safetensors", tensors)
    config = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, entry: section}))
    return target


def in_words(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.int32]:
    """Rows of numbers packed along the columns, the first in the lowest bits."""
    words = np.zeros((len(numbers), -(-numbers.shape[1] * bits // 32) + 1), np.uint64)
    for column in range(numbers.shape[1]):
        moved = numbers[:, column].astype(np.uint64) << np.uint64(column * bits % 32)
        words[:, column * bits // 32] |= moved & np.uint64(0xFFFFFFFF)
        words[:, column * bits // 32 + 1] |= moved >> np.uint64(32)
    return np.ascontiguousarray(words[:, :-1].astype(np.uint32)).view(np.int32)


def gptq_parts(
    weight: NDArray[np.float32], bits: int, group: int, *, symmetric: bool = True, old: bool = True,
    order: NDArray[np.int64] | None = None, scales: str = "float16",
) -> Parts:  # fmt: skip
    """AutoGPTQ's tensors; `order`: which column comes to each place before groups are made."""
    columns = weight.shape[1]
    order = np.arange(columns) if order is None else order
    matrix = quantized(weight[:, order], WeightScheme(bits, group, symmetric), scales)
    half, width = 1 << (bits - 1), group or columns
    numbers = np.empty(weight.shape, np.uint8)
    numbers[:, order] = matrix.steps.astype(np.int16) + half
    index = np.empty(columns, np.int32)
    index[order] = np.arange(columns) // width
    zeros = np.full(matrix.scales.shape, half, np.int16)
    if matrix.zero_points is not None:
        zeros = matrix.zero_points.astype(np.int16) + half
    goes_over = old and bits == 3  # numbers go on in other words: each is counted back by itself
    packed = in_words(np.ascontiguousarray(((zeros - goes_over) % (1 << bits)).T.astype(np.uint8)), bits)
    ones = {2: 0x55555555, 3: 0, 4: 0x11111111, 8: 0x01010101}[bits]
    return {
        ".qweight": ("I32", np.ascontiguousarray(in_words(numbers, bits).T)),
        ".qzeros": ("I32", (packed.view(np.uint32) - np.uint32(old * ones)).view(np.int32)),
        ".scales": (stored_name(scales), matrix.scales.T),
        ".g_idx": ("I32", index),
    }


def awq_parts(weight: NDArray[np.float32], group: int, scales: str = "float16") -> Parts:
    """AutoAWQ's tensors."""
    matrix = quantized(weight, WeightScheme(4, group, symmetric=False), scales)
    assert matrix.zero_points is not None

    def packed(numbers: NDArray[np.int8]) -> NDArray[np.int32]:
        unsigned = np.ascontiguousarray((numbers.astype(np.int16) + 8).astype(np.uint8).T)
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        shuffled = unsigned.reshape(len(unsigned), -1, 8)[:, :, order].reshape(unsigned.shape)
        return in_words(shuffled, 4)

    return {
        ".qweight": ("I32", packed(matrix.steps)),
        ".qzeros": ("I32", packed(matrix.zero_points)),
        ".scales": (stored_name(scales), matrix.scales.T),
    }


def fp8_parts(weight: NDArray[np.float32], block: tuple[int, int]) -> Parts:
    """DeepSeek's tensors: the nearest float of 8 bits, and a scale for each block."""
    rows, columns = weight.shape
    numbers = CODES["e4m3"].values[:0x7F]
    scales = np.ones((-(-rows // block[0]), -(-columns // block[1])), np.float32)
    for at in np.ndindex(scales.shape):
        part = tuple(slice(place * size, (place + 1) * size) for place, size in zip(at, block, strict=True))
        scales[at] = np.abs(weight[part]).max() / numbers[-1]
    spread = np.repeat(np.repeat(scales, block[0], 0)[:rows], block[1], 1)[:, :columns]
    exact = weight / spread
    codes = np.abs(np.abs(exact)[..., None] - numbers).argmin(-1).astype(np.uint8)
    return {".weight": ("F8_E4M3", codes | (exact < 0).astype(np.uint8) << 7), ".weight_scale_inv": ("F32", scales)}
