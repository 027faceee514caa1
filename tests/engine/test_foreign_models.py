"""Models as other tools quantize them: both executors, exactly where exactness is to be had."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.benchmark.model_facts import model_facts, model_rows
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import (
    INT_QUANTIZED,
    QuantizedMatrix,
    WeightScheme,
    stored_tensors,
    write_config,
)
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.errors import CheckpointError
from tests.engine.test_quantized_models import CONFIG, MODEL, assert_computed_with_stored_weights, logits
from tests.executors import open_executor
from tests.foreign_folders import Parts, awq_parts, foreign_folder, fp8_parts, gptq_parts
from tests.golden.small_models import uniform, write_checkpoint
from tests.quantized_folders import dequantized, quantize_folder, quantized, write_tensors

Make = Callable[[str, NDArray[np.float32]], Parts]
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False}
ACTORDER = write_config({"Linear": WeightScheme(4, 32, False)}, ["lm_head"])
ACTORDER["config_groups"]["group_0"]["weights"]["actorder"] = "group"
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("source"), MODEL, CONFIG, "float32")


def order_of(columns: int, seed: str = "order") -> NDArray[np.int64]:
    return np.argsort(uniform(seed, columns), kind="stable")


def ordered_parts(weight: NDArray[np.float32], order: NDArray[np.int64], scheme: WeightScheme) -> Parts:
    """compressed-tensors' tensors; `order`: which column comes to each place before groups are made."""
    matrix = quantized(weight[:, order], scheme, "bfloat16")
    steps, index = np.empty_like(matrix.steps), np.empty(len(order), np.int32)
    steps[:, order] = matrix.steps
    index[order] = np.arange(len(order)) // scheme.group
    tensors = stored_tensors("", QuantizedMatrix(steps, matrix.scales, matrix.zero_points), scheme)
    names = {"uint16": "BF16", "int32": "I32", "int64": "I64", "int8": "I8"}
    parts = {name: (names[array.dtype.name], array) for name, array in tensors.items()}
    return {**parts, ".weight_g_idx": ("I32", index)}


# With types that other tests have, so that no kernel is compiled for these alone.
FORMS: dict[str, tuple[dict[str, Any], Make]] = {
    "gptq": (GPTQ, lambda name, weight: gptq_parts(weight, 4, 32, symmetric=False, scales="bfloat16")),
    "gptq of version 2, act-order": (
        {**GPTQ, "desc_act": True, "checkpoint_format": "gptq_v2"},
        lambda name, weight: gptq_parts(
            weight, 4, 32, symmetric=False, old=False, order=order_of(weight.shape[1], name[-7:]), scales="bfloat16"
        ),
    ),
    "gptq of 8 bits": (
        {**GPTQ, "bits": 8, "group_size": -1, "sym": True},
        lambda name, weight: gptq_parts(weight, 8, 0),
    ),
    "fp8": (
        {"quant_method": "fp8", "weight_block_size": [32, 64]},
        lambda name, weight: fp8_parts(weight, (32, 64)),
    ),
    "awq": (AWQ, lambda name, weight: awq_parts(weight, 32, "bfloat16")),
    "compressed-tensors, act-order": (
        ACTORDER,
        lambda name, weight: ordered_parts(weight, order_of(weight.shape[1], name[-7:]), WeightScheme(4, 32, False)),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_both_executors_compute_with_the_stored_weights(tmp_path: Path, source: Path, form: str) -> None:
    """The reference does so exactly; the compiled engine rounds activations, which moves distributions a little."""
    folder = foreign_folder(source, tmp_path / "quantized", *FORMS[form])
    assert_computed_with_stored_weights(folder, as_floats(folder, tmp_path / "floats"))


def as_floats(folder: Path, target: Path) -> Path:
    """A float32 folder of what a folder's matrices stand for."""
    target.mkdir()
    with open_checkpoint(folder) as checkpoint:
        tensors = {name: ("float32", read_float32(checkpoint, name)) for name in checkpoint.tensors}
    write_tensors(target / "model.safetensors", tensors)
    (target / "config.json").write_text((folder / "config.json").read_text().replace("quantization_config", "unused"))
    return target


@pytest.mark.parametrize("form", ["gptq", "awq"])
def test_the_same_numbers_in_two_forms_are_one_model(tmp_path: Path, source: Path, form: str) -> None:
    folder = foreign_folder(source, tmp_path / "quantized", *FORMS[form])
    quantize_folder(source, tmp_path / "other", {"Linear": WeightScheme(4, 32, False)}, scales="bfloat16")
    with open_executor("compiled", folder) as ours, open_executor("compiled", tmp_path / "other") as other:
        np.testing.assert_array_equal(logits(ours), logits(other))


def test_floats_of_8_bits_are_multiplied_as_float32_is(tmp_path: Path, source: Path) -> None:
    """A weight is rounded once, as the float32 that it stands for, and summed in the same order."""
    folder = foreign_folder(source, tmp_path / "quantized", *FORMS["fp8"])
    floats = as_floats(folder, tmp_path / "floats")
    with open_executor("compiled", folder) as ours, open_executor("compiled", floats) as other:
        np.testing.assert_array_equal(logits(ours), logits(other))


def test_a_number_that_is_none(tmp_path: Path, source: Path) -> None:
    """0x7F of e4m3."""

    def make(name: str, weight: NDArray[np.float32]) -> Parts:
        parts = fp8_parts(weight, (32, 64))
        parts[".weight"][1][3, 5] = 0x7F
        return parts

    folder = foreign_folder(source, tmp_path / "quantized", FORMS["fp8"][0], make)
    with pytest.raises(CheckpointError, match="holds numbers that are not finite: its file is damaged"):
        with open_executor("compiled", folder):
            pass


def test_inputs_of_one_order_are_ordered_once(tmp_path: Path, source: Path) -> None:
    """q, k and v share an input and an order, so that they stay one product."""

    def make(name: str, weight: NDArray[np.float32]) -> Parts:
        return gptq_parts(weight, 4, 32, symmetric=False, order=order_of(weight.shape[1]), scales="bfloat16")

    folder = foreign_folder(source, tmp_path / "quantized", {**GPTQ, "desc_act": True}, make)
    with open_executor("compiled", folder) as executor:
        assert isinstance(executor, CompiledExecutor)
        step = SequenceStep(executor.cache.new_sequence(), np.arange(3, dtype=np.int32))
        names = [seen.label.operator for seen in executor.profile([step])]
    assert names.count("OrderFeatures") == 4 * CONFIG["num_hidden_layers"]  # before qkv, o, gate and up, down


@pytest.mark.parametrize("scheme", [WeightScheme(4, 32), WeightScheme(8, 64, False, INT_QUANTIZED)])
def test_ordered_columns_are_read_where_inputs_are(tmp_path: Path, source: Path, scheme: WeightScheme) -> None:
    def make(name: str, weight: NDArray[np.float32]) -> Parts:
        return ordered_parts(weight, order_of(weight.shape[1]), scheme)

    section = write_config({"Linear": scheme}, ["lm_head"])
    folder = foreign_folder(source, tmp_path / "quantized", section, make)
    name = "model.layers.0.mlp.down_proj.weight"
    with open_checkpoint(source) as plain, open_checkpoint(folder) as checkpoint:
        weight = read_float32(plain, name)
        order = order_of(weight.shape[1])
        expected = np.empty_like(weight)
        expected[:, order] = dequantized(quantized(weight[:, order], scheme, "bfloat16"))
        np.testing.assert_array_equal(checkpoint.read(name), expected)
        found = checkpoint.column_order(name)
        assert found is not None
        groups = (np.sort(each.reshape(-1, scheme.group)) for each in (found, order))
        np.testing.assert_array_equal(*groups)


def test_zero_points_that_contradict_the_config(tmp_path: Path, source: Path) -> None:
    """Found where the matrix is read: headers do not show it."""
    def make(name: str, weight: NDArray[np.float32]) -> Parts:
        return gptq_parts(weight, 4, 32, symmetric=False)

    folder = foreign_folder(source, tmp_path / "quantized", {**GPTQ, "sym": True}, make)
    with pytest.raises(CheckpointError, match="zero points that are not half the range, though config"):
        with open_executor("compiled", folder):
            pass


def test_what_a_folder_holds_is_told(tmp_path: Path, source: Path) -> None:
    folder = foreign_folder(source, tmp_path / "quantized", *FORMS["gptq of version 2, act-order"])
    lines = [text for _, text in model_rows(model_facts(folder), None)]
    assert any(re.match(r"mlp\.down_proj +GPTQ int4, act-order × 2 .* in memory int4g32$", line) for line in lines)
    assert any(re.match(r"lm_head +F32 × 1 .* in memory float32$", line) for line in lines)
