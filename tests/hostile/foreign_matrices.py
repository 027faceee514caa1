"""Hostile checkpoints: matrices in the forms of other tools, whose parts do not fit each other or the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.foreign_matrices import write_typed
from tests.hostile.foreign_folders import register, with_entries
from tests.hostile.spoiling import WEIGHTS

ITEM_TYPES = {
    "I64": np.int64, "I32": np.int32, "U32": np.uint32, "F32": np.float32, "F16": np.float16, "BF16": np.uint16,
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


def foreign(root: Path, tensors: Tensors, config: dict[str, Any], fill: dict[str, int]) -> Path:
    """A folder of zeros, or of what `fill` says of a tensor."""
    folder = with_entries(root, quantization_config=config)
    arrays = {
        name: (dtype, np.full(shape, fill.get(name, 0), ITEM_TYPES.get(dtype, np.uint8)))
        for name, (dtype, shape) in tensors.items()
    }
    write_typed(folder / WEIGHTS, arrays)
    return folder


def spoil(name: str, says: str, base: Base, entries: dict[str, Any] | None = None, **changes: Any) -> None:
    """Register a case. `entries`: of the config, whose file the sentence begins with where there are some and no tensor
    is named. `changes`: of the module's tensors, a type and a shape, a number that fills it, or None for none."""
    tensors, config = dict(base[0]), {**base[1], **(entries or {})}
    fill = {f"m.{key}": value for key, value in changes.items() if isinstance(value, int)}
    for key, value in changes.items():
        if not isinstance(value, int):
            tensors[f"m.{key}"] = value
    left = {key: value for key, value in tensors.items() if value is not None}
    is_of_tensor = entries is None or "'m." in says
    register(name, says, lambda root: foreign(root, left, config, fill), "." if is_of_tensor else "config.json")


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
spoil("gptq_of_5_bits", "the bits 5; supported are 4 and 8", GPTQ, {"bits": 5})
spoil("gptq_bits_missing", "the bits null", GPTQ, {"bits": None})
spoil("gptq_of_another_version", "'marlin'; supported are gptq", GPTQ, {"checkpoint_format": "marlin"})
spoil("gptq_sym_of_no_kind", "the sym 'yes'", GPTQ, {"sym": "yes"})
spoil("gptq_without_matrices", "no tensor is quantized so", GPTQ, {}, qweight=None)
spoil("gptq_own_bits_of_none", "'m.qzeros' has the shape [2, 2], which is of none of", GPTQ, {"dynamic": {"a": {}}},
      qzeros=("I32", [2, 2]))  # fmt: skip
spoil("awq_scales_of_other_rows", "'m.scales' has the shape [2, 25], but [2, 24]", AWQ, scales=("F16", [2, 25]))
spoil("awq_zeros_of_other_groups", "'m.qzeros' has the shape [1, 3]", AWQ, qzeros=("I32", [1, 3]))
spoil("awq_groups_of_16", "makes 4 groups of 64 inputs; supported", AWQ, scales=("F16", [4, 24]),
      qzeros=("I32", [4, 3]))  # fmt: skip
spoil("awq_of_3_bits", "the bits 3; supported is 4", AWQ, {"bits": 3})
spoil("awq_of_another_version", "the version 'gemv_fast'", AWQ, {"version": "gemv_fast"})
