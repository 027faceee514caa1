"""quantization_config: what is written is read back, others' forms are understood, faults have sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint.compressed_tensors import (
    INT_QUANTIZED,
    NAIVE_QUANTIZED,
    PACK_QUANTIZED,
    QuantizedMatrix,
    WeightScheme,
    read_config,
    stored_tensors,
    write_config,
)
from ftllm_nb.errors import CheckpointError

INT4 = WeightScheme(4, 128)
INT8 = WeightScheme(8, layout=INT_QUANTIZED, int8_activations=True)


def read(quantization: Any) -> Any:
    return read_config({"quantization_config": quantization}, "config.json")


@pytest.mark.parametrize(
    "schemes",
    [
        {"Linear": INT4},
        {"Linear": INT8},
        {"Linear": WeightScheme(8, 32, symmetric=False)},
        {"re:.*mlp": INT4, "model.layers.0.self_attn.q_proj": INT4, "Linear": INT8},
        {"Linear": WeightScheme(4, 0, False, NAIVE_QUANTIZED)},
    ],
)
def test_what_is_written_is_read_back(schemes: dict[str, WeightScheme]) -> None:
    written = write_config(schemes, ignore=["lm_head"])
    config = read(written)
    assert dict(config.schemes) == schemes and config.ignore == ("lm_head",)
    formats = {scheme.layout for scheme in schemes.values()}
    assert written["format"] == (formats.pop() if len(formats) == 1 else "mixed-precision")
    assert len(written["config_groups"]) == len(set(schemes.values()))


def test_a_config_that_says_nothing_is_none() -> None:
    assert read_config({}, "config.json") is None and read(None) is None


def test_names_go_before_expressions_and_both_before_classes() -> None:
    schemes = {"Linear": INT8, "re:.*up": WeightScheme(4, 32), "a.up": INT4}
    config = read(write_config(schemes, ["lm_head", "re:.*gate"]))
    assert config.scheme_of("a.up") == INT4
    assert config.scheme_of("b.up") == WeightScheme(4, 32)
    assert config.scheme_of("b.down") == INT8
    assert config.scheme_of("lm_head") is None and config.scheme_of("a.gate") is None
    assert config.scheme_of("model.embed_tokens", "Embedding") is None


def group(**weights: Any) -> dict[str, Any]:
    """A config as llm-compressor writes it, but for the given entries of the weights."""
    args = {"num_bits": 4, "type": "int", "symmetric": True, "group_size": 128, "strategy": "group", "dynamic": False,
            "actorder": None, "block_structure": None, "observer": "minmax", "observer_kwargs": {}}  # fmt: skip
    entry = {"weights": {**args, **weights}, "targets": ["Linear"], "input_activations": None}
    return {"config_groups": {"group_0": entry}, "format": PACK_QUANTIZED, "ignore": ["lm_head"],
            "kv_cache_scheme": None, "quant_method": "compressed-tensors", "quantization_status": "compressed",
            "sparsity_config": {}, "transform_config": {}, "version": "0.11.0"}  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, INT4),
        ({"actorder": "weight"}, INT4),
        ({"strategy": None}, INT4),
        ({"strategy": None, "group_size": -1}, WeightScheme(4)),
        ({"strategy": "channel", "group_size": None, "num_bits": 8, "symmetric": False}, WeightScheme(8, 0, False)),
    ],
)
def test_others_configs(weights: dict[str, Any], expected: WeightScheme) -> None:
    assert read(group(**weights)).scheme_of("x") == expected


def test_what_changes_no_weight_is_passed_over() -> None:
    dense = {"format": "dense", "global_sparsity": 0.14, "registry_requires_subclass": False, "ignore": []}
    quantization = changed(sparsity_config=dense, kv_cache_scheme={"num_bits": 8, "type": "float"})
    attention = {"targets": ["LlamaAttention"], "weights": None, "input_activations": {"num_bits": 8}}
    quantization["config_groups"] = {"group_1": attention, **quantization["config_groups"]}
    assert dict(read(quantization).schemes) == {"Linear": INT4}


def changed(**entries: Any) -> dict[str, Any]:
    return {**group(), **entries}


@pytest.mark.parametrize(
    ("quantization", "says"),
    [
        ([], "an object was expected"),
        ({"quant_method": "gptq"}, "'gptq'; supported is compressed-tensors"),
        (changed(config_groups=None), "config_groups null"),
        (changed(config_groups={"a": 3}), "config_groups['a'] is 3"),
        (changed(format="marlin-24"), "'marlin-24'; supported are pack-quantized, int-quantized, naive-quantized"),
        (changed(format=None), "the format null"),
        (changed(ignore="lm_head"), "ignore is 'lm_head'"),
        (changed(ignore=["re:("]), "no regular expression"),
        (changed(transform_config={"config_groups": {"R1": {}}}), "transform_config"),
        (changed(sparsity_config={"format": "sparse-24-bitmask"}), "sparsity_config"),
        (group(num_bits=9), "num_bits 9; supported are 2 to 8"),
        (group(num_bits=True), "num_bits true"),
        (group(type="float"), "the type 'float'"),
        (group(strategy="block"), "'block'; supported are tensor, channel, group"),
        (group(group_size=48), "group_size 48; supported are multiples of 32"),
        (group(group_size=None), "group_size null"),
        (group(actorder="random"), "actorder 'random'; supported are weight, static, group, dynamic"),
        (group(symmetric="yes"), "symmetric 'yes'"),
    ],
)
def test_faults_are_answered_by_a_sentence(quantization: Any, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(quantization)
    assert says in str(caught.value) and str(caught.value).startswith("config.json: quantization_config")


@pytest.mark.parametrize("targets", [None, "Linear", [1]])
def test_targets_that_are_no_names(targets: Any) -> None:
    quantization = group()
    quantization["config_groups"]["group_0"]["targets"] = targets
    with pytest.raises(CheckpointError, match="a list of names was expected"):
        read(quantization)


def test_tensors_of_both_layouts() -> None:
    matrix = QuantizedMatrix(np.zeros((6, 64), np.int8), np.ones((6, 2), np.float16), np.ones((6, 2), np.int8))
    packed = stored_tensors("m.up", matrix, WeightScheme(4, 32, symmetric=False))
    assert {name: (array.shape, array.dtype.name) for name, array in packed.items()} == {
        "m.up.weight_packed": ((6, 8), "int32"),
        "m.up.weight_scale": ((6, 2), "float16"),
        "m.up.weight_shape": ((2,), "int64"),
        "m.up.weight_zero_point": ((1, 2), "int32"),
    }
    np.testing.assert_array_equal(packed["m.up.weight_packed"], np.int32(-0x77777778))
    np.testing.assert_array_equal(packed["m.up.weight_zero_point"], 0x999999)
    whole = stored_tensors("m.up", matrix, WeightScheme(8, 32, False, INT_QUANTIZED))
    assert whole["m.up.weight"] is matrix.steps and whole["m.up.weight_zero_point"] is matrix.zero_points
