"""ggml's types as they are written: the bytes of the gguf package where it writes them, and least error elsewhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import block_types, dequantize
from ftllm_nb.quant.blocks import RoundedBlocks
from ftllm_nb.quantization.block_fitting import lines_of
from ftllm_nb.quantization.block_types import written_types
from tests.golden.block_rows import FILE, KEPT, importance, left, rows
from tests.quantization.block_types.matrices import MATRIX

OF_THE_GGUF_PACKAGE = {
    "q4_0": "7b3113c253dd85bf",
    "q4_1": "91e352b12979676f",
    "q5_0": "98315f3496d41a04",
    "q5_1": "af58690b9c9eabec",
    "q8_0": "a90ef24a15da9b75",
    "mxfp4": "b9f6ef23727f5537",
    "bf16": "3b0a2aa86574ffbe",
    "f16": "916ae6decd3475c9",
}
"""The first digits of the SHA-256 of what it makes of `MATRIX` (tests/oracle compares live)."""
FLOATS = ("f32", "f16", "bf16")
QUICK = (*FLOATS, "q4_k", "iq4_nl")
"""The search of each other type takes seconds to compile."""
EACH_TYPE = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in written_types()]
SEARCHED = EACH_TYPE[:]
for _name in FLOATS:
    SEARCHED.remove(_name)


def counted_error(name: str, encoded: NDArray[np.uint8], importance: NDArray[np.float32] | None = None) -> float:
    """Σ importance · (|x| + root of the mean square of its 32) · error²."""
    weights = MATRIX.reshape(-1, 32).astype(np.float64)
    factors = np.abs(weights) + np.sqrt((weights**2).mean(-1, keepdims=True))
    if importance is not None:
        factors *= np.tile(importance, len(MATRIX)).reshape(factors.shape)
    off = weights - dequantize(written_types()[name].name, encoded).reshape(weights.shape)
    return float((factors * off**2).sum())


@pytest.mark.parametrize("name", OF_THE_GGUF_PACKAGE)
def test_nearest_bytes_are_those_of_the_gguf_package(name: str) -> None:
    encoded = written_types()[name].encode(MATRIX, "rtn")
    assert encoded.shape == (len(MATRIX), written_types()[name].row_bytes(1024))
    assert hashlib.sha256(encoded.tobytes()).hexdigest()[:16] == OF_THE_GGUF_PACKAGE[name]


@pytest.mark.parametrize("name", SEARCHED)
def test_searched_scales_have_less_error(name: str) -> None:
    type = written_types()[name]
    nearest, searched = (counted_error(name, type.encode(MATRIX, method)) for method in ("rtn", "mse"))
    assert searched < (1.0 if name == "mxfp4" else 0.97) * nearest, "scales that are powers of two leave little choice"
    sizes = {"4": 0.013, "5": 0.003, "6": 0.0007, "8": 0.00006}
    bits = next(each for each in name if each.isdigit())
    whole = float((np.abs(MATRIX.astype(np.float64)) ** 3).sum())
    assert searched < sizes[bits] * whole, "that is how near so many bits are"


@pytest.mark.parametrize("name", SEARCHED)
def test_no_more_is_left_than_llama_cpp_leaves(name: str) -> None:
    type, golden, weights, counts = written_types()[name], np.load(FILE), rows(), importance()
    alike, counted = golden[f"{type.name}.left"]
    ours = dequantize(type.name, type.encode(weights, "mse"))
    assert left(weights, ours, np.ones_like(counts)) < 0.99 * alike
    ours = dequantize(type.name, type.encode(weights, "mse", counts))
    assert left(weights, ours, counts) < 0.99 * counted


@pytest.mark.parametrize("name", ["q4_k", "iq4_nl"])
def test_files_hold_what_a_model_of_floats_is_rounded_to_while_it_loads(name: str) -> None:
    type = written_types()[name]
    loaded = RoundedBlocks(name).rounded(MATRIX)
    np.testing.assert_array_equal(dequantize(type.name, type.encode(MATRIX, "mse")), loaded)


@pytest.mark.parametrize("name", [name for name in written_types() if name not in FLOATS])
def test_bits_lie_where_llama_cpp_lays_them(name: str) -> None:
    type, golden, weights = written_types()[name], np.load(FILE), rows()[:KEPT]
    theirs = golden[type.name]
    values = dequantize(type.name, theirs)
    assert left(weights, values, np.ones(weights.shape[1])) < 1.3 * golden[f"{type.name}.left"][0]
    lines = lines_of(type, theirs, weights.shape[1])
    assert lines.offsets is not None
    levels = np.array(type.levels, np.float32) * lines.steps[..., None] + lines.offsets[..., None]
    groups = values.reshape(*lines.steps.shape, -1)
    places = np.abs(groups[..., None] - levels[..., None, :]).argmin(-1).astype(np.uint8)
    assert type.with_places is not None
    again = type.with_places(theirs.reshape(-1, type.nbytes), places.reshape(-1, type.columns))
    np.testing.assert_array_equal(again.reshape(theirs.shape), theirs)


@pytest.mark.parametrize("name", SEARCHED)
def test_what_counts_more_is_nearer(name: str) -> None:
    importance = np.ones(1024, np.float32)
    importance[::3] = 50
    type = written_types()[name]
    plain, counted = type.encode(MATRIX, "mse"), type.encode(MATRIX, "mse", importance)
    assert counted_error(name, counted, importance) < counted_error(name, plain, importance)


@pytest.mark.parametrize("name", EACH_TYPE)
@pytest.mark.parametrize("method", ["rtn", "mse"])
def test_zeros_stay_zeros_and_rows_stand_alone(name: str, method: str) -> None:
    type = written_types()[name]
    encoded = type.encode(MATRIX, method)
    assert not dequantize(type.name, type.encode(np.zeros((2, 256), np.float32), method)).any()
    np.testing.assert_array_equal(type.encode(MATRIX[5:6], method), encoded[5:6])
    if name not in ("f32", "f16", "bf16"):
        assert (type.columns, type.nbytes) == (block_types()[type.name].columns, block_types()[type.name].nbytes)


@pytest.mark.parametrize("name", EACH_TYPE)
@pytest.mark.parametrize("method", ["rtn", "mse"])
def test_numbers_that_do_not_fit(name: str, method: str) -> None:
    type = written_types()[name]
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            type.encode(np.full((1, 256), bad, np.float32), method)
    if type.scale_at is not None:
        with pytest.raises(ValueError, match="too large"):
            type.encode(np.full((1, 256), -1e30, np.float32), method)
        small = type.encode(np.linspace(-1e-7, 1e-7, 256, dtype=np.float32)[None], method)
        assert not type.has_room(small) and type.has_room(type.encode(MATRIX, method))
