"""What some versions of the tools write otherwise: the same numbers, from tensors and configs that differ."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.base import StoredScaled
from ftllm_nb.checkpoint.codes import scaled_floats
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import ScaledType
from tests.golden.foreign_matrices import ForeignCase

ASYMMETRIC = "gptq 8 bits, groups of 64"
RUNS = "gptq 4 bits, groups of 32, symmetric"
NF4, NESTED = "bitsandbytes nf4, 96", "bitsandbytes nf4, nested, 128"


def read(case: ForeignCase, folder: Path, **entries: object) -> None:
    """The folder holds the case's matrix and nothing else."""
    with open_checkpoint(case.write(folder, **entries)) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight"}
        np.testing.assert_array_equal(checkpoint.read("m.weight"), case.expected)


def test_a_config_that_does_not_say_whether_numbers_are_symmetric(tmp_path: Path) -> None:
    case = ForeignCase(ASYMMETRIC)
    del case.config["sym"]
    with open_checkpoint(case.write(tmp_path)) as checkpoint:
        assert checkpoint.read_integers("m.weight").zero_points is not None
    read(case, tmp_path)


def test_groups_that_were_never_set(tmp_path: Path) -> None:
    """Early packages left zeros where columns are not ordered."""
    case = ForeignCase(RUNS)
    case.tensors["m.g_idx"][:] = 0
    read(case, tmp_path)
    with pytest.raises(CheckpointError, match="is missing or zeros"):
        read(case, tmp_path, desc_act=True)


def test_a_bias_of_zeros_is_none(tmp_path: Path) -> None:
    """Early packages gave one to each module: models that have none hold it."""
    case = ForeignCase(RUNS)
    case.types["m.bias"], case.tensors["m.bias"] = "F16", np.zeros(len(case.expected), np.float16)
    read(case, tmp_path)
    case.tensors["m.bias"][3] = 1
    with open_checkpoint(case.write(tmp_path)) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight", "m.bias"}


def test_a_version_by_its_newer_name(tmp_path: Path) -> None:
    case = ForeignCase(ASYMMETRIC)
    ones = np.uint32(0x01010101)
    case.tensors["m.qzeros"] = (case.tensors["m.qzeros"].view(np.uint32) + ones).view(np.int32)
    read(case, tmp_path, format="gptq_v2")


def test_auto_round(tmp_path: Path) -> None:
    """Which packs as GPTQ's version 1, and has modules of their own bits in `extra_config`."""
    case, own = ForeignCase(RUNS), {"lm_head": {"bits": 16, "data_type": "float"}}
    for entries in ({}, {"extra_config": own}):
        read(case, tmp_path, quant_method="auto-round", packing_format="auto_round:auto_gptq", **entries)
    with pytest.raises(CheckpointError, match="packing_format 'auto_round:exl3'; supported are"):
        read(case, tmp_path, quant_method="auto-round", packing_format="auto_round:exl3")
    read(ForeignCase("awq groups of 32"), tmp_path, quant_method="auto-round", packing_format="auto_round:auto_awq")


def test_opening_keeps_no_groups_of_runs(tmp_path: Path) -> None:
    """They would be as large as all activations of a mixture of many experts."""
    case, columns, modules = ForeignCase(RUNS), 8192, 32
    shapes = {"qweight": (columns // 8, 8), "scales": (columns // 32, 8), "qzeros": (columns // 32, 1)}
    arrays = {ending: np.zeros(shape, case.tensors[f"m.{ending}"].dtype) for ending, shape in shapes.items()}
    arrays["g_idx"] = (np.arange(columns) // 32).astype(np.int32)
    types = {ending: case.types[f"m.{ending}"] for ending in arrays}
    case.tensors = {f"m{number}.{ending}": array for number in range(modules) for ending, array in arrays.items()}
    case.types = {f"m{number}.{ending}": kind for number in range(modules) for ending, kind in types.items()}
    case.write(tmp_path)
    tracemalloc.start()
    with open_checkpoint(tmp_path):
        kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < modules * columns * 2


def test_stacks_are_made_one_matrix_at_a_time(tmp_path: Path) -> None:
    case = ForeignCase("mxfp4 of gpt-oss")
    case.tensors = {"m_blocks": np.ones((16, 128, 32, 16), np.uint8), "m_scales": np.full((16, 128, 32), 120, np.uint8)}
    with open_checkpoint(case.write(tmp_path)) as checkpoint:
        tracemalloc.start()
        found = checkpoint.read_blocks("m.weight")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1.5 * found.nbytes


@pytest.mark.parametrize("name", [NF4, NESTED])
def test_codes_stored_as_floats(tmp_path: Path, name: str) -> None:
    """bnb_4bit_quant_storage, which sharded training wants."""
    case = ForeignCase(name)
    case.tensors["m.weight"] = case.tensors["m.weight"].reshape(-1).view(np.uint16).reshape(-1, 1)
    case.types["m.weight"] = "BF16"
    read(case, tmp_path)


def test_runs_that_kernels_do_not_walk(tmp_path: Path) -> None:
    case = ForeignCase(NF4)
    name = next(name for name in case.tensors if "quant_state" in name)
    state = json.loads(case.tensors[name].tobytes())
    case.tensors[name] = np.frombuffer(json.dumps({**state, "blocksize": 2}).encode(), np.uint8)
    case.tensors["m.weight.absmax"] = np.ones(case.expected.size // 2, np.float32)
    with pytest.raises(CheckpointError, match="has a scale for 2 numbers; supported are multiples of 32"):
        read(case, tmp_path)


def test_a_module_that_is_said_to_be_quantized(tmp_path: Path) -> None:
    read(ForeignCase("mlx 4 bits, groups of 64"), tmp_path, m=True)


@pytest.mark.parametrize(
    ("stack", "expert"),
    [
        ("l.0.mlp.switch_mlp.up_proj", "l.0.mlp.experts.{}.up_proj"),
        ("l.0.block_sparse_moe.switch_mlp.down_proj", "l.0.block_sparse_moe.experts.{}.w2"),
    ],
)
def test_stacks_of_mlx_are_experts(tmp_path: Path, stack: str, expert: str) -> None:
    case = ForeignCase("mlx 8 bits, groups of 32")
    order = np.arange(len(case.expected))
    orders = [order, order[::-1], np.roll(order, 5)]
    for name in [*case.tensors]:
        own, matrix = name.replace("m.", f"{stack}."), case.tensors.pop(name)
        case.tensors[own], case.types[own] = np.stack([matrix[rows] for rows in orders]), case.types[name]
    with open_checkpoint(case.write(tmp_path)) as checkpoint:
        assert set(checkpoint.tensors) == {f"{expert.format(number)}.weight" for number in range(len(orders))}
        for number, rows in enumerate(orders):
            name = f"{expert.format(number)}.weight"
            np.testing.assert_array_equal(checkpoint.read(name), case.expected[rows])
            checkpoint.release(name)
        assert sum(info.nbytes for info in checkpoint.tensors.values()) == sum(a.nbytes for a in case.tensors.values())


def test_a_config_in_modelopts_own_file(tmp_path: Path) -> None:
    case = ForeignCase("nvfp4 of modelopt")
    case.write(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    own = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(own))
    with open_checkpoint(tmp_path) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("m.weight"), case.expected)


def test_scales_take_no_second_matrix() -> None:
    rows, columns = 256, 4096
    scales = np.ones((rows, columns // 64), np.float32)
    stored = StoredScaled(np.ones((rows, columns), np.uint8), scales, scales)
    tracemalloc.start()
    found = scaled_floats(stored, ScaledType("u8", 64, "float32", offsets=True), columns)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found == 2).all()
    assert peak < 1.5 * found.nbytes


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gptq 3 bits, groups of 32, act-order", "1 matrix stored as GPTQ int3, act-order becomes int4g32, which"),
        ("mlx 5 bits, groups of 32", "1 matrix stored as MLX int5 becomes u8g32, which"),
        ("hqq 2 bits, groups of 16, axis 1", "1 matrix stored as HQQ int2 becomes u4g16, which"),
        ("hqq 4 bits, groups of 64, axis 0", "1 matrix stored as HQQ int4 in groups across rows becomes float32"),
        ("compressed-tensors pack-quantized 6 bits, group", "1 matrix stored as int6 becomes int8g96, which"),
        ("compressed-tensors mxfp6-pack-quantized 6 bits, group", "1 matrix stored as MXFP6 becomes e4m3g32, which"),
        ("gptq 4 bits, groups of 32, symmetric", None),
        ("mlx mxfp4", None),
    ],
)
def test_matrices_that_take_more_memory_are_told(tmp_path: Path, name: str, says: str | None) -> None:
    with open_checkpoint(ForeignCase(name).write(tmp_path)) as checkpoint:
        notes = list(checkpoint.notes)
    assert len(notes) == (says is not None) and all(note.startswith(str(says)) for note in notes)
