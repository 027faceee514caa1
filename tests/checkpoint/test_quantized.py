"""Quantized folders as named matrices: numbers as stored, floats as they stand for; others' variants of the layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import (
    INT_QUANTIZED,
    NAIVE_QUANTIZED,
    QuantizedMatrix,
    WeightScheme,
    pack,
    pack_zero_points,
    write_config,
)
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import QuantizedType
from tests.golden.small_models import SMALL_MODELS, write_checkpoint
from tests.quantized_folders import dequantized, quantize_folder, widened, write_tensors

CASES = [
    (WeightScheme(4, 32), "float16", "int4g32_float16"),
    (WeightScheme(4, 32, symmetric=False), "bfloat16", "int4g32z_bfloat16"),
    (WeightScheme(4, 0, symmetric=False), "float32", "int4z_float32"),
    (WeightScheme(8, 32, symmetric=False), "bfloat16", "int8g32z_bfloat16"),
    (WeightScheme(8, 0, True, INT_QUANTIZED, int8_activations=True), "bfloat16", "int8_bfloat16"),
    (WeightScheme(8, 0, False, INT_QUANTIZED), "float32", "int8z_float32"),
    (WeightScheme(4, 32, False, NAIVE_QUANTIZED), "float16", "int4g32z_float16"),
]


@pytest.mark.parametrize(("scheme", "scales", "dtype"), CASES)
def test_matrices_are_read_bit_for_bit(tmp_path: Path, scheme: WeightScheme, scales: str, dtype: str) -> None:
    source = write_checkpoint(tmp_path / "source", "quantized", SMALL_MODELS["llama_mha"], "bfloat16")
    matrices = quantize_folder(source, tmp_path / "target", {"Linear": scheme}, scales=scales)
    with open_checkpoint(source) as before, open_checkpoint(tmp_path / "target") as checkpoint:
        assert set(checkpoint.tensors) == set(before.tensors)
        assert len(matrices) == 14
        for name, info in before.tensors.items():
            found = checkpoint.tensors[name]
            assert found.name == name and found.shape == info.shape
            matrix = matrices.get(name.removesuffix(".weight"))
            if matrix is None:
                assert found == info
                np.testing.assert_array_equal(checkpoint.read(name), before.read(name))
                with pytest.raises(CheckpointError, match="no quantized tensor"):
                    checkpoint.read_integers(name)
                continue
            assert str(found.dtype) == dtype
            read = checkpoint.read(name)
            assert read.dtype == np.float32 and not read.flags.writeable
            np.testing.assert_array_equal(read, dequantized(matrix))
            assert_as_stored(checkpoint.read_integers(name), matrix, scheme)
            checkpoint.release(name)
            np.testing.assert_array_equal(checkpoint.read(name), read)


def assert_as_stored(stored: Any, matrix: QuantizedMatrix, scheme: WeightScheme) -> None:
    packs = scheme.layout == "pack-quantized"
    np.testing.assert_array_equal(stored.numbers, pack(matrix.steps, scheme.bits) if packs else matrix.steps)
    np.testing.assert_array_equal(widened(stored.scales), widened(matrix.scales))
    if scheme.symmetric:
        assert stored.zero_points is None
    else:
        np.testing.assert_array_equal(stored.zero_points, matrix.zero_points)


def test_bytes_of_other_tensors_are_copied(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "source", "quantized", SMALL_MODELS["llama_mha"], "bfloat16")
    quantize_folder(source, tmp_path / "target", {"Linear": WeightScheme(8)})
    part = np.zeros(10, np.uint8)
    with open_checkpoint(tmp_path / "target") as checkpoint:
        checkpoint.read_into("model.norm.weight", 4, part)
        np.testing.assert_array_equal(part.view(np.uint16), checkpoint.read("model.norm.weight")[2:7])


STEPS = np.random.default_rng(1).integers(-128, 128, (9, 64)).astype(np.int8)
SCALES = np.arange(1, 10, dtype=np.float32)


def folder_of(root: Path, tensors: dict[str, NDArray[Any]], scheme: WeightScheme, target: str = "Linear") -> Path:
    """A folder of these tensors under a config of this scheme."""
    (root / "config.json").write_text(json.dumps({"quantization_config": write_config({target: scheme})}))
    write_tensors(root / "model.safetensors", {name: (array.dtype.name, array) for name, array in tensors.items()})
    return root


INT8 = WeightScheme(8, 0, True, INT_QUANTIZED)


def test_a_scale_a_row_may_lack_its_axis_and_activations_scales_are_left_out(tmp_path: Path) -> None:
    parts = {"m.weight": STEPS, "m.weight_scale": SCALES, "m.input_scale": SCALES[:1], "other": SCALES}
    with open_checkpoint(folder_of(tmp_path, parts, INT8)) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight", "other"}
        assert checkpoint.tensors["m.weight"].nbytes == STEPS.nbytes + SCALES.nbytes
        np.testing.assert_array_equal(checkpoint.read("m.weight"), STEPS * SCALES[:, None])


def test_zero_points_of_a_symmetric_scheme_count_where_they_are_stored(tmp_path: Path) -> None:
    zeros = np.arange(9, dtype=np.int32)
    parts = {"m.weight": STEPS, "m.weight_scale": SCALES, "m.weight_zero_point": zeros}
    with open_checkpoint(folder_of(tmp_path, parts, INT8)) as checkpoint:
        expected = (STEPS.astype(np.float32) - zeros[:, None]) * SCALES[:, None]
        np.testing.assert_array_equal(checkpoint.read("m.weight"), expected.astype(np.float32))


def test_a_table_is_an_embedding_to_the_config(tmp_path: Path) -> None:
    parts = {"model.embed_tokens.weight": STEPS, "model.embed_tokens.weight_scale": SCALES}
    with open_checkpoint(folder_of(tmp_path, parts, INT8, "Embedding")) as checkpoint:
        assert checkpoint.tensors["model.embed_tokens.weight"].dtype == QuantizedType(8, scales="float32")


def test_a_shape_may_be_of_32_bits(tmp_path: Path) -> None:
    four, zeros = np.clip(STEPS[:, :50], -8, 7), np.full((9, 1), 3, np.int8)
    parts = {
        "m.weight_packed": pack(four, 4),
        "m.weight_scale": SCALES[:, None],
        "m.weight_shape": np.array(four.shape, np.int32),
        "m.weight_zero_point": pack_zero_points(zeros, 4),
    }
    with open_checkpoint(folder_of(tmp_path, parts, WeightScheme(4, 0, False))) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("m.weight"), (four - np.float32(3)) * SCALES[:, None])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scale_that_is_no_number(tmp_path: Path, value: float) -> None:
    scales = SCALES.copy()
    scales[7] = value
    parts = {"m.weight": STEPS, "m.weight_scale": scales}
    with open_checkpoint(folder_of(tmp_path, parts, INT8)) as checkpoint:
        with pytest.raises(CheckpointError, match=r"'m\.weight_scale' holds numbers that are not finite"):
            checkpoint.read("m.weight")


def test_a_byte_that_does_not_fit_4_bits(tmp_path: Path) -> None:
    parts = {"m.weight": np.full((9, 64), 9, np.int8), "m.weight_scale": SCALES}
    with open_checkpoint(folder_of(tmp_path, parts, WeightScheme(4, layout=INT_QUANTIZED))) as checkpoint:
        with pytest.raises(CheckpointError, match="holds 9 … 9, but 4 bits hold -8 … 7"):
            checkpoint.read("m.weight")


@pytest.mark.parametrize(("value", "says"), [(8, "holds 0 … 8, but 4 bits hold -8 … 7"), (-9, "holds -9 … 0")])
def test_a_zero_point_out_of_range(tmp_path: Path, value: int, says: str) -> None:
    zeros = np.zeros((9, 1), np.int8)
    zeros[3] = value
    parts = {"m.weight": np.zeros((9, 64), np.int8), "m.weight_scale": SCALES[:, None], "m.weight_zero_point": zeros}
    with open_checkpoint(folder_of(tmp_path, parts, WeightScheme(4, 0, False, INT_QUANTIZED))) as checkpoint:
        for read in (checkpoint.read, checkpoint.read_integers):
            with pytest.raises(CheckpointError, match=says):
                read("m.weight")
