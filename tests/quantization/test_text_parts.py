"""Copies of models that see or hear: their text part is quantized, and the rest is as it was.

transformers holds the modules of such a model under names of its own, whichever names the tensors have.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import read_config
from ftllm_nb.engine.weight_types import read_rules
from ftllm_nb.loading import describe
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.options import QuantizeOptions
from tests.models.small_configs import TEXT_PARTS
from tests.models.test_text_parts import NEW, OLD, folder, tensors
from tests.quantization.test_command import quantize

SEEN = {
    "vision_tower.encoder.layers.0.mlp.down_proj.weight": (8, 32),
    "vision_tower.encoder.layers.0.norm.weight": (8,),
    "vision_tower.patch_embedding.weight": (8, 3, 2, 2),
    "multi_modal_projector.weight": (24, 8),
}
PROCESSOR = "preprocessor_config.json"


FEW = {"vocab_size_per_layer_input": 50, "hidden_size_per_layer_input": 8}
"""Where tables of a vocabulary for each layer would be half a gigabyte."""


def write_folder(path: Path, model_type: str, place: tuple[str, str], before: str) -> dict[str, np.ndarray]:
    """A model of random weights, its other parts' names after `before`; the tensors of those."""
    few = FEW if model_type in ("gemma3n", "gemma4") else {}
    config = folder(model_type, num_attention_heads=4, hidden_size=32, intermediate_size=64, **few)
    random = np.random.default_rng(3)
    text = {name: header.shape for name, header in tensors(config, place).items()}
    seen = {before + name: random.standard_normal(shape).astype(np.float16) for name, shape in SEEN.items()}
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in text.items()}
    path.mkdir()
    save_file(weights | seen, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    (path / PROCESSOR).write_text('{"size": 224}')
    return seen


def in_memory(tensor: str) -> str:
    """The module that transformers makes of a tensor's name."""
    module = tensor.removesuffix(".weight")
    for prefix, head in (NEW, OLD):
        if module.startswith(prefix):
            return NEW[0] + module.removeprefix(prefix)
        if module == head:
            return NEW[1]
    return module if module.startswith("model.") else f"model.{module}"


RULES = [{"key": r"layers\.0.*gate_proj", "dtype": "auto"}, {"key": "o_proj", "dtype": "int8"}]


@pytest.mark.parametrize("place, before", [(NEW, "model."), (OLD, "")], ids=["new names", "old names"])
@pytest.mark.parametrize("model_type", TEXT_PARTS)
def test_the_config_means_modules_by_the_names_that_they_have_in_memory(
    tmp_path: Path, model_type: str, place: tuple[str, str], before: str
) -> None:
    write_folder(tmp_path / "model", model_type, place, before)
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    with open_checkpoint(tmp_path / "model") as checkpoint:
        options = QuantizeOptions("int4g32", "rtn", rules=read_rules(tmp_path / "rules.json"))
        job = output_format(options.format).job(checkpoint, options)
    quantization = read_config(json.loads(job.texts({})["config.json"]), "config.json")
    assert quantization is not None
    schemes = {in_memory(tensor.name): tensor.scheme for tensor in job.tensors if len(tensor.shape) == 2}
    assert {scheme.bits for scheme in schemes.values() if scheme is not None} == {4, 8}
    for module, scheme in schemes.items():
        if "embed_tokens" not in module:  # which is no Linear module
            assert quantization.scheme_of(module) == scheme, module


def test_a_copy_holds_the_other_parts_as_they_were(tmp_path: Path) -> None:
    seen = write_folder(tmp_path / "model", "gemma3", OLD, "")
    flags = ["--dtype", "int4g32", "--method", "rtn"]
    done = quantize(tmp_path / "model", "-o", tmp_path / "out", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert any(name.endswith(".weight_packed") for name in found)
    for name, tensor in seen.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)
    assert (tmp_path / "out" / PROCESSOR).read_bytes() == (tmp_path / "model" / PROCESSOR).read_bytes()
    with open_checkpoint(tmp_path / "out") as checkpoint:  # and it can be read again
        assert describe(checkpoint).unread_tensors == []
