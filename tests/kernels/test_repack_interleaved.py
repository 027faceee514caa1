"""ggml's Q4_0 and Q8_0 in blocks of 16 rows: every bit, against the same blocks made in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.checkpoint.ggml import block_types
from ftllm_nb.checkpoint.gguf.integers import stored_integers
from ftllm_nb.checkpoint.packed.blocks import BlockForm
from ftllm_nb.kernels.repack_integers import BAD_SCALE
from ftllm_nb.kernels.repack_interleaved import BITS, repack_interleaved_kernel
from ftllm_nb.memory import aligned_bytes
from tests.kernels.kernel_runs import run

SHAPES = [(1, 32), (15, 64), (16, 32), (17, 160), (50, 96)]
each_type = pytest.mark.parametrize("name", BITS)


def drawn(name: str, rows: int, columns: int) -> np.ndarray:
    """Rows of any numbers and of finite scales, uint8 [rows, bytes of a row]."""
    random = np.random.default_rng((rows, columns))
    raw = random.integers(0, 256, (rows, columns // 32, block_types()[name].nbytes), np.uint8)
    raw[..., :2] = random.standard_normal(raw.shape[:2]).astype(np.float16)[..., None].view(np.uint8)
    return raw.reshape(rows, -1)


def repacked(name: str, raw: np.ndarray, columns: int) -> tuple[np.ndarray, int]:
    """The blocks, and the fault word; nothing is written after them."""
    size = len(raw) * columns * (BITS[name] * 4 + 2) // 32
    size += -len(raw) % 16 * size // len(raw)
    memory, fault = aligned_bytes(size + 64), np.zeros(1, np.int64)
    memory[size:] = 170
    arguments = (raw.ctypes.data, memory.ctypes.data, len(raw), columns, fault.ctypes.data)
    run(repack_interleaved_kernel(name), 0, *arguments)
    assert (memory[size:] == 170).all()
    return memory[:size], int(fault[0])


@each_type
@pytest.mark.parametrize("rows, columns", SHAPES)
def test_every_number_and_scale_is_where_the_tiles_look_for_it(name: str, rows: int, columns: int) -> None:
    raw = drawn(name, rows, columns)
    stored = stored_integers(name, raw)
    unsigned = (stored.numbers.astype(np.int16) + (1 << BITS[name] - 1)).astype(np.uint8)
    words = unsigned if BITS[name] == 8 else unsigned[:, ::2] | unsigned[:, 1::2] << 4
    form = BlockForm.of(f"int{BITS[name]}g32_float16")
    assert form is not None
    expected = form.pack(np.ascontiguousarray(words), stored.scales, None, columns)
    got, fault = repacked(name, raw, columns)
    assert fault == 0
    np.testing.assert_array_equal(got, expected.reshape(-1))


@each_type
@pytest.mark.parametrize("scale", [np.inf, -np.inf, np.nan])
def test_a_scale_that_is_not_finite_is_told(name: str, scale: float) -> None:
    raw = drawn(name, 17, 64)
    at = block_types()[name].nbytes
    raw[16, at : at + 2] = np.array([scale], np.float16).view(np.uint8)
    assert repacked(name, raw, 64)[1] == BAD_SCALE
