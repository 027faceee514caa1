"""Live against transformers and the compressed-tensors package: folders that `ftllm-nb quantize` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.quantized_type import QuantizedType
from tests.golden.small_models import tensor
from tests.oracle.differences import Differences
from tests.quantization.test_command import quantize

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")
pytest.importorskip("compressed_tensors", reason="`make oracle` installs it")
models: Any = pytest.importorskip("tests.oracle.compressed_models")
ours: Any = pytest.importorskip("tests.oracle.test_compressed_tensors")

RULES = [{"key": "mlp", "dtype": "int8"}, {"key": "q_proj", "dtype": "auto"}]
CASES: dict[str, tuple[str, ...]] = {
    "quantize --dtype int4g32": ("--dtype", "int4g32"),
    "quantize --dtype int4g32 --method rtn": ("--dtype", "int4g32", "--method", "rtn"),
    "quantize --dtype int4g64": ("--dtype", "int4g64"),  # 96 columns of one matrix get groups of 32
    "quantize --dtype int4g32 --asymmetric": ("--dtype", "int4g32", "--asymmetric"),
    "quantize --dtype int4": ("--dtype", "int4"),
    "quantize --dtype int8": ("--dtype", "int8"),
    "quantize --dtype int8g32": ("--dtype", "int8g32"),
    "quantize --dtype int8 --asymmetric": ("--dtype", "int8", "--asymmetric"),
    "quantize --dtype int4g32 --dtype_config FILE": ("--dtype", "int4g32", "--dtype_config", "rules.json"),
}
TOLD = {"int4g64": "96 columns are no multiple of 64 (1 matrix)", "FILE": "vLLM joins q, k and v, or gate and up"}
"""Warnings, by a part of the case's name."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama in bfloat16, as transformers saves it."""
    folder = tmp_path_factory.mktemp("float") / "model"
    made = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**models.MODEL)).to(torch.bfloat16)
    for name, parameter in made.named_parameters():
        parameter.data = torch.from_numpy(tensor("quantize", name, tuple(parameter.shape))).to(torch.bfloat16)
    made.save_pretrained(folder)
    (folder.parent / "rules.json").write_text(json.dumps(RULES))
    return folder



@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, model: Path) -> tuple[str, Path]:
    """A case's name and folder."""
    out = model.parent / request.param.replace(" ", "_")
    flags = (model.parent / flag if flag == "rules.json" else flag for flag in CASES[request.param])
    done = quantize(model, "-o", out, *flags)
    told = next((said for part, said in TOLD.items() if part in request.param), "")
    assert done.returncode == 0 and told in done.stderr and bool(told) == bool(done.stderr), done.stderr
    return request.param, out


def test_weights_are_what_the_package_reads_bit_for_bit(case: tuple[str, Path]) -> None:
    _, folder = case
    expected = models.decompressed(folder, torch.float32)
    with open_checkpoint(folder) as checkpoint:
        quantized = {name for name, info in checkpoint.tensors.items() if isinstance(info.dtype, QuantizedType)}
        assert quantized == set(expected)
        for name, value in expected.items():
            assert torch.equal(torch.from_numpy(checkpoint.read(name).copy()), value), name


def test_logits(case: tuple[str, Path], differences: Differences) -> None:
    name, folder = case
    expected = models.float_logits(folder)
    found = ours.our_logits("reference", folder)
    differences.check(name, "reference", float(np.abs(found - expected).max()), ours.TOLERANCE)
    divergence = ours.mean_divergence(expected, ours.our_logits("compiled", folder))
    assert divergence < ours.LARGEST_DIVERGENCE, f"{divergence:.1e}"


@pytest.mark.parametrize("case", [name for name in CASES if "--asymmetric" not in name], indirect=True)
def test_logits_of_the_model_that_transformers_loads(case: tuple[str, Path]) -> None:
    """Transformers 5.24 does not load packed zero points. Activations are left as they are in the comparison."""
    _, folder = case
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for module in loaded.modules():
        module.quantization_enabled = False
    found = ours.our_logits("reference", folder)
    np.testing.assert_allclose(found, models.all_logits(loaded), rtol=0, atol=ours.TOLERANCE)


@pytest.mark.parametrize("case", [name for name in CASES if "--asymmetric" in name], indirect=True)
def test_transformers_loads_zero_points_dequantized(case: tuple[str, Path]) -> None:
    """It then rounds weights to the type of the scales, float16."""
    _, folder = case
    config = transformers.CompressedTensorsConfig(dequantize=True)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=config)
    found = ours.our_logits("reference", folder)
    np.testing.assert_allclose(found, models.all_logits(loaded), rtol=0, atol=1e-2)


def test_transformers_loads_many_files(model: Path, tmp_path: Path) -> None:
    found = []
    for name, size in (("one", "5GB"), ("many", "30kB")):
        assert quantize(model, "-o", tmp_path / name, "--dtype", "int4g32", "--max_shard_size", size).returncode == 0
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32)
        found.append(models.all_logits(loaded))
    np.testing.assert_array_equal(*found)
