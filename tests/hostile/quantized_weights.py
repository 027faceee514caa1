"""Hostile checkpoints: quantized matrices whose parts do not fit each other, and configs of what cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tests.hostile.spoiling import CONFIG, WEIGHTS, entry, hostile, safetensors_bytes

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "I64": 8, "I32": 4, "I8": 1}
_GROUPS = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32}

# A matrix of [12, 64] in 4 bits and groups of 32, with zero points.
PACKED: dict[str, tuple[str, list[int]]] = {
    "m.weight_packed": ("I32", [12, 8]),
    "m.weight_scale": ("BF16", [12, 2]),
    "m.weight_shape": ("I64", [2]),
    "m.weight_zero_point": ("I32", [2, 2]),
}
BYTES = {"m.weight": ("I8", [12, 64]), "m.weight_scale": ("F16", [12, 1]), "m.weight_zero_point": ("I8", [12, 1])}
SHAPE = (12, 64)


def quantized_folder(
    root: Path,
    tensors: dict[str, tuple[str, list[int]]],
    weights: dict[str, Any] | None = None,
    shape: tuple[int, int] = SHAPE,
    **entries: Any,
) -> Path:
    """A folder of these tensors, all zero but the shape, and of a config of these arguments and entries."""
    folder = root / "model"
    folder.mkdir()
    group = {"targets": ["Linear"], "weights": {**_GROUPS, **(weights or {})}}
    quantization = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"g": group}}
    config = {**CONFIG, "quantization_config": {**quantization, **entries}}
    (folder / "config.json").write_text(json.dumps(config))
    header, data = {}, b""
    for name, (dtype, sizes) in tensors.items():
        content = bytes(math.prod(sizes) * _BYTES[dtype])
        if name == "m.weight_shape" and dtype == "I64" and sizes == [2]:
            content = b"".join(size.to_bytes(8, "little", signed=True) for size in shape)
        header[name] = entry(sizes, len(data), len(data) + len(content), dtype)
        data += content
    (folder / WEIGHTS).write_bytes(safetensors_bytes(header, data))
    return folder


def without(name: str) -> dict[str, tuple[str, list[int]]]:
    """`PACKED` but for one tensor."""
    return {key: value for key, value in PACKED.items() if key != name}


CHANNEL = {"num_bits": 8, "strategy": "channel", "group_size": None}


@hostile(".", "'m.weight_scale' is missing")
def scales_missing(root: Path) -> Path:
    return quantized_folder(root, without("m.weight_scale"))


@hostile(".", "'m.weight_zero_point' is missing")
def zero_points_missing(root: Path) -> Path:
    return quantized_folder(root, without("m.weight_zero_point"))


@hostile(".", "'m.weight_shape' is missing")
def quantized_shape_missing(root: Path) -> Path:
    return quantized_folder(root, without("m.weight_shape"))


@hostile(".", "has the shape [12, 3], but [12, 2] was expected")
def scales_of_other_groups(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_scale": ("BF16", [12, 3])})


@hostile(".", "has the shape [13, 1], but [12, 1] was expected")
def scales_of_other_rows(root: Path) -> Path:
    return quantized_folder(root, {**BYTES, "m.weight_scale": ("F16", [13, 1])}, CHANNEL)


@hostile(".", "'m.weight_scale' is of type F8_E4M3; supported are float32, float16, bfloat16")
def scales_of_8_bits(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_scale": ("F8_E4M3", [12, 2])})


@hostile(".", "has the shape [12, 2], but [2, 2] was expected")
def zero_points_not_packed(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_zero_point": ("I32", [12, 2])})


@hostile(".", "'m.weight_zero_point' is of type I8; supported are I32")
def zero_points_of_bytes_beside_words(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_zero_point": ("I8", [12, 2])})


@hostile(".", "is [12, 96], which 4 bits pack into [12, 12]")
def quantized_shape_of_more_columns(root: Path) -> Path:
    return quantized_folder(root, PACKED, shape=(12, 96))


@hostile(".", "is [-12, 64]")
def quantized_shape_negative(root: Path) -> Path:
    return quantized_folder(root, PACKED, shape=(-12, 64))


@hostile(".", "is [12, 9223372036854775807]")
def quantized_shape_beyond_all_memory(root: Path) -> Path:
    return quantized_folder(root, PACKED, shape=(12, 2**63 - 1))


@hostile(".", "'m.weight_shape' is no pair of whole numbers")
def quantized_shape_of_three_numbers(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_shape": ("I64", [3])})


@hostile(".", "but [rows, columns] was expected")
def quantized_matrix_of_three_axes(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_packed": ("I32", [1, 12, 8])})


@hostile(".", "is of type float32, but packed numbers are I32")
def packed_numbers_of_floats(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_packed": ("F32", [12, 8])})


@hostile(".", "has 64 columns, which groups of 96 do not divide evenly")
def groups_do_not_divide_the_row(root: Path) -> Path:
    return quantized_folder(root, PACKED, {"group_size": 96})


@hostile(".", "has the shape [12, 8], but 'm.weight_shape' is [12, 64], which 8 bits pack into [12, 16]")
def packed_for_other_bits(root: Path) -> Path:
    return quantized_folder(root, PACKED, {"num_bits": 8})


@hostile(".", "'m.weight_g_idx' makes no groups of 32 columns each")
def columns_ordered_into_one_group(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_g_idx": ("I32", [64])})


@hostile(".", "'m.weight_g_idx' has the shape [63], but [64]")
def columns_ordered_that_are_others(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight_g_idx": ("I32", [63])})


@hostile(".", "'m.weight_g_idx' is missing")
def columns_ordered_nobody_knows_how(root: Path) -> Path:
    return quantized_folder(root, PACKED, {"actorder": "group"})


@hostile(".", "'m.weight_packed' lies beside 'm.weight'")
def quantized_and_not(root: Path) -> Path:
    return quantized_folder(root, {**PACKED, "m.weight": ("F32", [12, 64])})


@hostile(".", "'m.weight_packed' is quantized, but quantization_config in config.json leaves it out")
def quantized_but_ignored(root: Path) -> Path:
    return quantized_folder(root, PACKED, ignore=["m"])


@hostile("config.json", "the num_bits 1; supported are 2 to 8")
def numbers_of_1_bit(root: Path) -> Path:
    return quantized_folder(root, PACKED, {"num_bits": 1})


@hostile("config.json", "the strategy 'block'; supported are tensor, channel, group")
def strategy_unknown(root: Path) -> Path:
    return quantized_folder(root, PACKED, {"strategy": "block"})


@hostile("config.json", "the format 'marlin-24'; supported are pack-quantized, int-quantized")
def quantized_format_unknown(root: Path) -> Path:
    return quantized_folder(root, PACKED, format="marlin-24")


@hostile("config.json", "the quant_method 'of-tomorrow'; supported is compressed-tensors")
def quantized_by_an_unknown_method(root: Path) -> Path:
    return quantized_folder(root, PACKED, quant_method="of-tomorrow")


@hostile("config.json", "the quant_method [\"gptq\"]")
def quant_method_is_a_list(root: Path) -> Path:
    return quantized_folder(root, PACKED, quant_method=["gptq"])


@hostile("config.json", "the format [\"a\"]")
def quantized_format_is_a_list(root: Path) -> Path:
    return quantized_folder(root, PACKED, format=["a"])


@hostile("config.json", "the strategy {}")
def strategy_is_an_object(root: Path) -> Path:
    return quantized_folder(root, PACKED, {"strategy": {}})


@hostile("config.json", "no regular expression")
def ignored_by_no_expression(root: Path) -> Path:
    return quantized_folder(root, PACKED, ignore=["re:*"])
