"""Model folders in the compressed-tensors layout, made from folders of floats, and what their numbers stand for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import (
    QuantizedMatrix,
    WeightScheme,
    read_config,
    stored_tensors,
    write_config,
)
from ftllm_nb.engine.weight_loading import read_float32
from tests.golden.small_models import to_stored_type
from tests.hostile.spoiling import entry, safetensors_bytes

_CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "int32": "I32", "int64": "I64"}


def quantized(weight: NDArray[np.float32], scheme: WeightScheme, scales: str = "float16") -> QuantizedMatrix:
    """Rounded to nearest on the scales that fit each group's ends, which are rounded to their type first."""
    rows, columns = weight.shape
    groups = weight.reshape(rows, scheme.groups(columns), -1)
    half = 1 << (scheme.bits - 1)
    if scheme.symmetric:
        exact = np.abs(groups).max(-1) / np.float32(half - 0.5)
    else:
        exact = (groups.max(-1) - groups.min(-1)) / np.float32(2 * half - 1)
    stored = to_stored_type(np.maximum(exact, np.float32(1e-5)), scales)
    steps = groups / widened(stored)[..., None]
    zero_points = None
    if not scheme.symmetric:
        zero_points = np.clip(np.rint(-half - steps.min(-1)), -half, half - 1).astype(np.int8)
        steps = steps + zero_points[..., None]
    numbers = np.clip(np.rint(steps), -half, half - 1).astype(np.int8)
    return QuantizedMatrix(numbers.reshape(rows, columns), stored, zero_points)


def widened(scales: NDArray[Any]) -> NDArray[np.float32]:
    """Scales as float32; bfloat16 comes as its bits."""
    if scales.dtype == np.uint16:
        return (scales.astype(np.uint32) << 16).view(np.float32)
    return scales.astype(np.float32)


def dequantized(matrix: QuantizedMatrix) -> NDArray[np.float32]:
    """(step − zero point) · scale, element by element."""
    rows, groups = matrix.scales.shape
    steps = matrix.steps.reshape(rows, groups, -1).astype(np.int32)
    if matrix.zero_points is not None:
        steps = steps - matrix.zero_points.astype(np.int32)[..., None]
    return (steps.astype(np.float32) * widened(matrix.scales)[..., None]).reshape(matrix.steps.shape)


def quantize_folder(
    source: Path,
    target: Path,
    schemes: Mapping[str, WeightScheme],
    *,
    scales: str = "float16",
    ignore: Sequence[str] = ("lm_head",),
    only: str = "_proj",
) -> dict[str, QuantizedMatrix]:
    """Copy a folder with the matrices quantized in whose names `only` is found; those matrices by module."""
    shutil.copytree(source, target)
    matrices: dict[str, QuantizedMatrix] = {}
    tensors: dict[str, Any] = {}
    config = {"quantization_config": write_config(schemes, ignore)}
    chosen = read_config(config, "config.json")
    assert chosen is not None
    with open_checkpoint(source) as checkpoint:
        for name, info in checkpoint.tensors.items():
            module = name.removesuffix(".weight")
            scheme = chosen.scheme_of(module) if only in name and name.endswith(".weight") else None
            if scheme is None:
                tensors[name] = (info.dtype, checkpoint.read(name))
                continue
            matrices[module] = quantized(read_float32(checkpoint, name), scheme, scales)
            for part, array in stored_tensors(module, matrices[module], scheme).items():
                tensors[part] = ("bfloat16" if array.dtype == np.uint16 else array.dtype.name, array)
    write_tensors(target / "model.safetensors", tensors)
    written = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**written, **config}))
    return matrices


def write_tensors(path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    """A safetensors file of arrays and their types' names."""
    header, data = {}, bytearray()
    for name, (dtype, array) in tensors.items():
        content = np.ascontiguousarray(array).tobytes()
        header[name] = entry(list(array.shape), len(data), len(data) + len(content), _CODES[dtype])
        data += content
    path.write_bytes(safetensors_bytes(header, bytes(data)))
