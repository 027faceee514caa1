"""Matrices that are converted while they load: a few rows at a time, on several threads, to the same bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint.ggml import block_types
from ftllm_nb.checkpoint.gguf.integers import INTEGER_TYPES
from ftllm_nb.engine import converted_loading
from ftllm_nb.engine.converted_loading import conversion, pack_converted
from ftllm_nb.memory import aligned_bytes
from ftllm_nb.quant.base import weight_format
from ftllm_nb.quant.blocks import BlockFormat
from ftllm_nb.quant.stored import StoredFormat
from tests.kernels.kernel_runs import pool

FORMATS = {
    "IQ3_S": BlockFormat("IQ3_S"),
    "TQ2_0": StoredFormat(INTEGER_TYPES["TQ2_0"]),
    "NVFP4": weight_format("bfloat16"),
}
"""A type of each way of conversion, and what it becomes."""


def part_of(format: Any, count: int, rows: int, columns: int, memory: np.ndarray) -> Any:
    """As much of a WeightPart as loading looks at."""
    weight = SimpleNamespace(computed=None, type=SimpleNamespace(matrices=(count, rows, columns)))
    return SimpleNamespace(weight=weight, format=format, address=memory.ctypes.data)


def converted(name: str, raw: np.ndarray, count: int, columns: int) -> tuple[np.ndarray, int]:
    """A stack of matrices in memory, and the most rows that were converted at once."""
    format, rows = FORMATS[name], len(raw) // count
    memory = aligned_bytes(count * format.packed_bytes(rows, columns))
    part = part_of(format, count, rows, columns, memory)
    convert = conversion(part, name)
    assert convert is not None
    seen = []

    def noting(some: np.ndarray) -> converted_loading.Sources:
        seen.append(len(some))
        return convert(some)

    assert pack_converted(part, format.pack_kernel("float32").address, raw, noting, pool()) == 0
    return memory, max(seen)


@pytest.mark.parametrize("name", FORMATS)
def test_pieces_are_laid_where_the_whole_would_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, rows, columns, type = 2, 70, 256, block_types()[name]
    random = np.random.default_rng(1)
    raw = random.integers(0, 60, (count * rows, columns // type.columns * type.nbytes), np.uint8)
    whole, most = converted(name, raw, count, columns)
    assert most == rows and whole.any()
    alone = np.concatenate([converted(name, matrix, 1, columns)[0] for matrix in np.split(raw, count)])
    np.testing.assert_array_equal(whole, alone)
    monkeypatch.setattr(converted_loading, "_NUMBERS_AT_ONCE", 32 * columns)
    pieces, most = converted(name, raw, count, columns)
    assert most == 32
    np.testing.assert_array_equal(pieces, whole)


def test_what_is_packed_as_it_lies_is_not_converted() -> None:
    memory = aligned_bytes(64)
    for name, format in (("Q4_K", BlockFormat("Q4_K")), ("F16", weight_format("float16")), ("", weight_format("int8"))):
        assert conversion(part_of(format, 1, 16, 256, memory), name) is None
    assert conversion(part_of(weight_format("int8"), 1, 16, 256, memory), "Q4_K") is not None
