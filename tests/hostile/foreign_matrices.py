"""Hostile checkpoints: matrices in the forms of other tools, whose parts do not fit each other or the config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ftllm_nb.checkpoint.codes import CODES
from tests.golden.foreign_matrices import write_typed
from tests.hostile.foreign_folders import register, with_entries
from tests.hostile.spoiling import WEIGHTS

ITEM_TYPES = {
    "I64": np.int64, "I32": np.int32, "U32": np.uint32, "F32": np.float32, "F16": np.float16, "BF16": np.uint16,
    "I16": np.int16,
}  # fmt: skip
"""Others are bytes."""
Tensors = dict[str, tuple[str, list[int]]]
Base = tuple[Tensors, dict[str, Any]]
GPTQ: Base = (
    {
        "m.qweight": ("I32", [8, 24]),
        "m.scales": ("F16", [2, 24]),
        "m.qzeros": ("I32", [2, 3]),
        "m.g_idx": ("I32", [64]),
    },
    {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False},
)
AWQ: Base = (
    {"m.qweight": ("I32", [64, 3]), "m.scales": ("F16", [2, 24]), "m.qzeros": ("I32", [2, 3])},
    {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"},
)
GEMV: Base = (
    {"m.qweight": ("I32", [24, 8]), "m.scales": ("F16", [24, 8]), "m.qzeros": ("I32", [24, 1])},
    {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv"},
)
FAST: Base = (
    {"m.qweight": ("I16", [6, 64]), "m.scales": ("F16", [8, 24]), "m.qzeros": ("F16", [8, 24])},
    {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv_fast"},
)
HQQ_SHAPE, HQQ_PACKING = [8, 64], b"4bit_u8"
HQQ: Base = (
    {
        "m.W_q": ("U8", [8, 32]),
        "m.scale": ("F16", [16, 1]),
        "m.zero": ("F16", [16, 1]),
        "m.shape": ("I64", [2]),
        "m.axis": ("I32", []),
        "m.packing": ("U8", [len(HQQ_PACKING)]),
    },
    {"quant_method": "hqq", "quant_config": {}},
)
FP8: Base = (
    {"m.weight": ("F8_E4M3", [48, 96]), "m.weight_scale_inv": ("F32", [2, 2])},
    {"quant_method": "fp8", "weight_block_size": [32, 64]},
)
NVFP4: Base = (
    {"m.weight": ("U8", [8, 32]), "m.weight_scale": ("F8_E4M3", [8, 4]), "m.weight_scale_2": ("F32", [])},
    {"quant_method": "modelopt", "quant_algo": "NVFP4"},
)
NF4_STATE = json.dumps({"shape": [8, 64], "blocksize": 64, "nested_blocksize": 256, "nested_offset": 0.1}).encode()
NF4: Base = (
    {
        "m.weight": ("U8", [256, 1]),
        "m.weight.absmax": ("U8", [8]),
        "m.weight.quant_map": ("F32", [16]),
        "m.weight.nested_absmax": ("F32", [1]),
        "m.weight.nested_quant_map": ("F32", [256]),
        "m.weight.quant_state.bitsandbytes__nf4": ("U8", [len(NF4_STATE)]),
    },
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
)
MLX: Base = (
    {"m.weight": ("U32", [8, 16]), "m.scales": ("F16", [8, 2]), "m.biases": ("F16", [8, 2])},
    {"bits": 4, "group_size": 64},
)
MXFP4: Base = ({"m_blocks": ("U8", [2, 8, 2, 16]), "m_scales": ("U8", [2, 8, 2])}, {"quant_method": "mxfp4"})


def foreign(root: Path, tensors: Tensors, config: dict[str, Any], fill: dict[str, int]) -> Path:
    """A folder of zeros, or of what `fill` says of a tensor."""
    folder = with_entries(root, **{"quantization_config" if "quant_method" in config else "quantization": config})
    arrays = {
        name: (dtype, np.full(shape, fill.get(name, 0), ITEM_TYPES.get(dtype, np.uint8)))
        for name, (dtype, shape) in tensors.items()
    }
    if "m.weight.quant_map" in arrays and "m.weight.quant_map" not in fill:
        arrays["m.weight.quant_map"] = "F32", np.resize(CODES["nf4"].values, tensors["m.weight.quant_map"][1])
    made = {"m.shape": HQQ_SHAPE, "m.packing": [*HQQ_PACKING], "m.axis": 1}
    for name, numbers in made.items():
        if name in arrays and name not in fill:
            arrays[name] = arrays[name][0], np.array(numbers, arrays[name][1].dtype)
    for name, (dtype, _) in arrays.items():
        if name.endswith("nf4") and name not in fill:
            arrays[name] = dtype, np.frombuffer(NF4_STATE, np.uint8)
    write_typed(folder / WEIGHTS, arrays)
    return folder


def spoil(name: str, says: str, base: Base, entries: dict[str, Any] | None = None, **changes: Any) -> None:
    """Register a case. `entries`: of the config, whose file the sentence begins with where there are some and no tensor
    is named. `changes`: of the module's tensors, a type and a shape, a number that fills it, or None for none."""
    tensors, config = dict(base[0]), {**base[1], **(entries or {})}
    fill: dict[str, int] = {_name(key): value for key, value in changes.items() if isinstance(value, int)}
    for key, value in changes.items():
        if not isinstance(value, int):
            tensors[_name(key)] = value
    left = {key: value for key, value in tensors.items() if value is not None}
    is_of_tensor = entries is None or "'m" in says
    register(name, says, lambda root: foreign(root, left, config, fill), "." if is_of_tensor else "config.json")


def _name(key: str) -> str:
    return f"m{key}" if key.startswith("_") else f"m.{key.replace('__', '.').replace('bytes.nf4', 'bytes__nf4')}"


spoil("gptq_groups_out_of_range", "'m.g_idx' names the groups 2 … 2, of which there are 2", GPTQ, g_idx=2)
spoil("gptq_groups_negative", "'m.g_idx' names the groups -1 … -1", GPTQ, g_idx=-1)
spoil("gptq_groups_of_other_inputs", "'m.g_idx' has the shape [63], but [64]", GPTQ, g_idx=("I32", [63]))
spoil("gptq_groups_of_floats", "'m.g_idx' is of type float32", GPTQ, g_idx=("F32", [64]))
spoil("gptq_scales_missing", "'m.scales' is missing", GPTQ, scales=None)
spoil("gptq_scales_of_other_rows", "'m.qweight' has the shape [8, 24], but [8, 25]", GPTQ, scales=("F16", [2, 25]))
spoil("gptq_scales_of_whole_numbers", "'m.scales' is of type I32", GPTQ, scales=("I32", [2, 24]))
spoil("gptq_zeros_of_other_groups", "'m.qzeros' has the shape [3, 3], but [2, 3]", GPTQ, qzeros=("I32", [3, 3]))
spoil("gptq_zeros_of_other_bits", "'m.qzeros' has the shape [2, 3], but [2, 6]", GPTQ, {"bits": 8})
spoil("gptq_order_missing", "'m.g_idx' is missing", GPTQ, {"desc_act": True}, g_idx=None)
spoil("gptq_of_three_axes", "2 axes were expected", GPTQ, qweight=("I32", [1, 8, 24]))
spoil("gptq_of_5_bits", "the bits 5; supported are 2, 3, 4, 8", GPTQ, {"bits": 5})
spoil("gptq_bits_missing", "the bits null", GPTQ, {"bits": None})
spoil("gptq_of_another_version", "'marlin'; supported are gptq", GPTQ, {"checkpoint_format": "marlin"})
spoil("gptq_sym_of_no_kind", "the sym 'yes'", GPTQ, {"sym": "yes"})
spoil("gptq_without_matrices", "no tensor is quantized so", GPTQ, {}, qweight=None)
spoil("gptq_own_bits_of_none", "'m.qzeros' has the shape [2, 1], which is of none of", GPTQ, {"dynamic": {"a": {}}},
      qzeros=("I32", [2, 1]))  # fmt: skip
spoil("gptq_of_part_of_a_number", "'m.qweight' has 8 rows of words, which numbers of 3 bits do not fill", GPTQ,
      {"bits": 3})  # fmt: skip
spoil("awq_scales_of_other_rows", "'m.scales' has the shape [2, 25], but [2, 24]", AWQ, scales=("F16", [2, 25]))
spoil("awq_zeros_of_other_groups", "'m.qzeros' has the shape [1, 3]", AWQ, qzeros=("I32", [1, 3]))
spoil("awq_groups_of_16", "makes 4 groups of 64 inputs; supported", AWQ, scales=("F16", [4, 24]),
      qzeros=("I32", [4, 3]))  # fmt: skip
spoil("awq_of_3_bits", "the bits 3; supported is 4", AWQ, {"bits": 3})
spoil("awq_of_another_version", "the version 'marlin'; supported are gemm, gemv", AWQ, {"version": "marlin"})
spoil("gemv_scales_of_other_groups", "'m.scales' has the shape [24, 7], but [24, 8]", GEMV, scales=("F16", [24, 7]))
spoil("gemv_zeros_missing", "'m.qzeros' is missing", GEMV, qzeros=None)
spoil("gemv_groups_that_do_not_divide", "'m.qweight' has 64 inputs, but config.json's group_size is 48", GEMV,
      {"group_size": 48})  # fmt: skip
spoil("gemv_fast_of_words", "'m.qweight' is of type I32; supported are I16", GEMV, {"version": "gemv_fast"})
spoil("gemv_fast_of_few_inputs", "'m.qweight' has 32 inputs, which 64 do not divide", FAST, qweight=("I16", [6, 32]))
spoil("gemv_fast_scales_of_other_rows", "'m.scales' has the shape [8, 23], but [8, 24]", FAST,
      scales=("F16", [8, 23]))  # fmt: skip
spoil("gemv_fast_zeros_of_words", "'m.qzeros' is of type I32; supported are float16", FAST, qzeros=("I32", [8, 24]))
spoil("hqq_scales_missing", "'m.scale' is missing", HQQ, scale=None)
spoil("hqq_packing_missing", "'m.packing' is missing", HQQ, packing=None)
spoil("hqq_of_another_packing", "'m.packing' says '0000000'; supported are 8bit_u8, 4bit_u8", HQQ, packing=48)
spoil("hqq_of_another_axis", "'m.axis' holds [2], but 0 or 1 was expected", HQQ, axis=2)
spoil("hqq_without_a_shape", "'m.shape' holds [0, 0], but [outputs, inputs] was expected", HQQ, shape=0)
spoil("hqq_scales_of_other_groups", "'m.scale' has the shape [15, 1], which makes no groups of [8, 64]", HQQ,
      scale=("F16", [15, 1]))  # fmt: skip
spoil("hqq_zeros_of_other_groups", "'m.zero' has the shape [8, 1], but [16, 1]", HQQ, zero=("F16", [8, 1]))
spoil("hqq_scales_along_the_other_axis", "'m.scale' has the shape [1, 16], but [16, 1]", HQQ, scale=("F16", [1, 16]))
spoil("hqq_of_other_size", "'m.W_q' has 128 bytes, but 256 were expected", HQQ, W_q=("U8", [4, 32]))
spoil("mxfp4_scales_of_other_groups", "'m_scales' has the shape [2, 8, 3], but [2, 8, 2]", MXFP4,
      _scales=("U8", [2, 8, 3]))  # fmt: skip
spoil("mxfp4_scales_missing", "'m_scales' is missing", MXFP4, _scales=None)
spoil("mxfp4_of_other_groups", "but [experts, out, in / 32, 16] was expected", MXFP4, _blocks=("U8", [2, 8, 2, 8]))
spoil("mxfp4_of_words", "'m_blocks' is of type I32", MXFP4, _blocks=("I32", [2, 8, 2, 16]))
spoil("mxfp4_bias_of_other_rows", "'m_bias' has the shape [2, 9], but [2, 8]", MXFP4, _bias=("BF16", [2, 9]))
spoil("fp8_scales_missing", "'m.weight_scale' is missing", FP8, weight_scale_inv=None)
spoil("fp8_scales_of_other_blocks", "has the shape [2, 3], but [1], [48, 1] or [2, 2]", FP8,
      weight_scale_inv=("F32", [2, 3]))  # fmt: skip
spoil("fp8_scales_of_whole_numbers", "'m.weight_scale_inv' is of type I32", FP8, weight_scale_inv=("I32", [2, 2]))
spoil("fp8_blocks_of_none", "the weight_block_size [0, 64]", FP8, {"weight_block_size": [0, 64]})
spoil("fp8_of_three_axes", "2 axes were expected", FP8, weight=("F8_E4M3", [1, 48, 96]))
spoil("fp8_without_matrices", "no tensor is quantized so", FP8, {}, weight=("F32", [48, 96]))
spoil("nvfp4_scales_of_other_groups", "has the shape [8, 2], but [8, 4]", NVFP4, weight_scale=("F8_E4M3", [8, 2]))
spoil("nvfp4_factor_missing", "'m.weight_scale_2' is missing", NVFP4, weight_scale_2=None)
spoil("nvfp4_factors", "but one number was expected", NVFP4, weight_scale_2=("F32", [8]))
spoil("nf4_state_missing", "has no quant_state beside it", NF4, weight__quant_state__bitsandbytes__nf4=None)
spoil("nf4_state_of_zeros", "is no JSON", NF4, weight__quant_state__bitsandbytes__nf4=0)
spoil("nf4_of_other_size", "has 128 bytes, which are no 8 × 64 numbers", NF4, weight=("U8", [128, 1]))
spoil("nf4_of_other_numbers", "holds other numbers than those of nf4", NF4, weight__quant_map=1)
spoil("nf4_scales_of_other_runs", "has the shape [9], but [8]", NF4, weight__absmax=("U8", [9]))
spoil("nf4_nested_missing", "'m.weight.nested_absmax' is missing", NF4, weight__nested_absmax=None)
spoil("mlx_of_7_bits", "the bits 7; supported are 2, 3, 4, 5, 6, 8", MLX, {"bits": 7})
spoil("mlx_groups_of_16", "the group_size 16; supported are multiples of 32", MLX, {"group_size": 16})
spoil("mlx_scales_of_other_groups", "'m.scales' has the shape [8, 3], but [8, 2]", MLX, scales=("F16", [8, 3]))
spoil("mlx_offsets_missing", "'m.biases' is missing", MLX, biases=None)
spoil("mlx_of_another_mode", "the mode 'mxfp6'; supported are affine, mxfp4", MLX, {"mode": "mxfp6"})
spoil("mlx_mxfp4_of_other_groups", "the group_size 64, but 32 was expected of mxfp4", MLX, {"mode": "mxfp4"})
spoil("mlx_mxfp4_scales_of_floats", "'m.scales' is of type float16; supported are U8", MLX,
      {"mode": "mxfp4", "group_size": 32})  # fmt: skip
spoil("mlx_nvfp4_scales_of_other_groups", "'m.scales' has the shape [8, 2], but [8, 8]", MLX,
      {"mode": "nvfp4", "group_size": 16}, scales=("U8", [8, 2]))  # fmt: skip
spoil("mlx_module_that_is_not", "quantization says false of m, whose weights", MLX, {"m": False})
spoil("mlx_groups_that_end_beyond_rows", "'m.scales' has the shape [8, 1], but [8, 2]", MLX, weight=("U32", [8, 10]),
      scales=("F16", [8, 1]), biases=("F16", [8, 1]))  # fmt: skip
spoil("nvfp4_groups_that_end_beyond_rows", "'m.weight_scale' has the shape [8, 2], but [8, 3]", NVFP4,
      weight=("U8", [8, 20]), weight_scale=("F8_E4M3", [8, 2]))  # fmt: skip
spoil("mxfp8_groups_that_end_beyond_rows", "'m.weight_scale' has the shape [8, 2], but [8, 3]", FP8,
      weight=("F8_E4M3", [8, 80]), weight_scale_inv=None, weight_scale=("U8", [8, 2]))  # fmt: skip
spoil("nvfp4_with_factors_of_inputs", "'m.pre_quant_scale' holds factors of a product's inputs", NVFP4,
      pre_quant_scale=("BF16", [64]))  # fmt: skip
spoil("awq_with_factors_of_an_activation", "'m.act.scales' divides what an activation function gives", AWQ,
      act__scales=("F16", [24]))  # fmt: skip
