"""Live against transformers and the compressed-tensors package: quantized copies of models that see or hear."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.quantized_type import QuantizedType
from tests.executors import open_executor
from tests.oracle.config_parts import SIZES
from tests.oracle.text_parts import TEXT_PARTS
from tests.quantization.test_command import quantize

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")
match = pytest.importorskip("compressed_tensors.utils.match", reason="`make oracle` installs it")
from tests.oracle.test_architectures import TOLERANCE, save_random, with_sizes  # noqa: E402
from tests.oracle.test_text_parts import rename_text_part  # noqa: E402

RULES = [{"key": r"layers\\.0.*gate_proj", "dtype": "auto"}, {"key": "o_proj", "dtype": "int4"}]


@pytest.mark.parametrize(
    "architecture, renamed",
    [
        ("gemma3", False), ("gemma3", True), ("mistral3", False), ("mistral3", True), ("gemma4", False),
        ("llama4", False),
    ],
)  # fmt: skip
def test_transformers_loads_the_copy(tmp_path: Path, architecture: str, renamed: bool) -> None:
    """The package takes the same modules for quantized that are, and the logits are those of the copy here."""
    changes = TEXT_PARTS[architecture][0]
    entries = changes | {"text_config": with_sizes(changes["text_config"])}
    save_random(transformers.AutoModelForImageTextToText, architecture, entries, tmp_path / "model")
    if renamed:
        rename_text_part(tmp_path / "model")
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    flags = ("--dtype", "int4g32", "--method", "rtn", "--dtype_config", tmp_path / "rules.json")
    assert quantize(tmp_path / "model", "-o", tmp_path / "out", *flags).returncode == 0
    with open_checkpoint(tmp_path / "out") as checkpoint:
        count = sum(isinstance(info.dtype, QuantizedType) for info in checkpoint.tensors.values())
    floats = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    said = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    targets = [target for group in said["config_groups"].values() for target in group["targets"]]
    taken = [name for name, _ in match.match_named_modules(floats, targets, said["ignore"])]
    assert len(taken) == count and all("language_model" in name for name in taken)
    if architecture == "llama4":
        return  # which takes no text without a picture in transformers 5.24
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype=torch.float32)
    tokens = np.random.default_rng(1).integers(3, SIZES["vocab_size"], 20)
    with torch.inference_mode():
        expected = model(torch.from_numpy(tokens)[None]).logits[0].numpy()
    with open_executor("reference", tmp_path / "out") as executor:
        (found,) = executor.run([SequenceStep(executor.cache.new_sequence(), tokens.astype(np.int32))])
    np.testing.assert_allclose(found, expected[-1], rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max()))
