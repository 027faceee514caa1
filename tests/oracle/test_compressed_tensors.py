"""Live against the compressed-tensors package: folders that it quantizes and writes, read by it and by us."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.quantized_type import QuantizedType
from tests.executors import open_executor
from tests.oracle.differences import Differences

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")
pytest.importorskip("compressed_tensors", reason="`make oracle` installs it")
models: Any = pytest.importorskip("tests.oracle.compressed_models")

TOLERANCE = 1e-4
LARGEST_DIVERGENCE = 5e-3
"""Mean over the tokens, of the compiled engine, which rounds activations to int8."""

weights, group = models.weights, models.group
CASES: dict[str, tuple[list[dict[str, Any]], str, str | None]] = {
    "int4 groups, pack-quantized": ([group(weights(4, 32, actorder="weight"))], "bfloat16", None),
    "int4 groups with zero points, pack-quantized": ([group(weights(4, 32, False))], "bfloat16", None),
    "int4 rows with zero points, pack-quantized": ([group(weights(4, 0, False))], "float32", None),
    "int8 groups with zero points, pack-quantized": ([group(weights(8, 32, False))], "float16", None),
    "int8 rows, int-quantized": (
        [group(weights(8), input_activations=models.INT8_TOKENS)], "bfloat16", None,
    ),
    "int8 rows with zero points, int-quantized": (
        [group(weights(8, 0, False), input_activations=models.INT8_TOKENS)], "float16", None,
    ),
    "int4 rows with zero points, naive-quantized": ([group(weights(4, 0, False))], "float32", "naive-quantized"),
    "attention int4, others int8, table int8": (
        [
            group(weights(4, 32), "re:.*self_attn"),
            group(weights(8), "re:.*embed_tokens"),
            group(weights(8), "Linear", input_activations=models.INT8_TOKENS),
        ],
        "bfloat16",
        None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A case's name and folder."""
    groups, dtype, force_format = CASES[request.param]
    folder = tmp_path_factory.mktemp("compressed") / "model"
    models.write_compressed(folder, groups, getattr(torch, dtype), force_format)
    return request.param, folder


def test_weights_are_the_packages_bit_for_bit(case: tuple[str, Path]) -> None:
    """In float32, and rounded to the type of the scales, in which the package computes unless told otherwise."""
    _, folder = case
    exact, rounded = models.decompressed(folder, torch.float32), models.decompressed(folder)
    with open_checkpoint(folder) as checkpoint:
        quantized = {name for name, info in checkpoint.tensors.items() if isinstance(info.dtype, QuantizedType)}
        assert quantized == set(exact)
        for name in quantized:
            ours = torch.from_numpy(checkpoint.read(name).copy())
            assert torch.equal(ours, exact[name]), name
            assert torch.equal(ours.to(rounded[name].dtype), rounded[name]), name


def test_logits(case: tuple[str, Path], differences: Differences) -> None:
    name, folder = case
    expected = models.float_logits(folder)
    ours = our_logits("reference", folder)
    differences.check(name, "reference", float(np.abs(ours - expected).max()), TOLERANCE)
    divergence = mean_divergence(expected, our_logits("compiled", folder))
    assert divergence < LARGEST_DIVERGENCE, f"{divergence:.1e}"


@pytest.mark.parametrize("case", [name for name in CASES if not re.search("zero points|table", name)], indirect=True)
def test_logits_of_the_model_that_transformers_loads(case: tuple[str, Path]) -> None:
    """Transformers 5.24 loads neither packed zero points nor quantized embeddings. Activations are not rounded here."""
    _, folder = case
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for module in model.modules():
        module.quantization_enabled = False
    np.testing.assert_allclose(our_logits("reference", folder), models.all_logits(model), rtol=0, atol=TOLERANCE)


def our_logits(engine: str, folder: Path) -> NDArray[np.float32]:
    """After each token, one a step."""
    with open_executor(engine, folder) as executor:
        sequence = executor.cache.new_sequence()
        steps = ([SequenceStep(sequence, token)] for token in np.split(models.TOKENS, len(models.TOKENS)))
        return np.concatenate([executor.run(step).copy() for step in steps])


def mean_divergence(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The mean Kullback-Leibler divergence of the rows' distributions from the expected ones."""
    log_p, log_q = (torch.log_softmax(torch.from_numpy(rows).double(), -1) for rows in (expected, found))
    return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
