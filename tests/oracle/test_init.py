"""A checkpoint whose model_type nobody knows: the file that init writes for it computes what transformers computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.scaffold.candidates import nearest
from ftllm_nb.scaffold.model_file import model_file
from tests.oracle.architectures import ARCHITECTURES
from tests.oracle.config_parts import SIZES
from tests.oracle.differences import Differences

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
pytest.importorskip("transformers", reason="`make oracle` installs it")
pytest.importorskip("tests.oracle.torch_models", reason="registers what transformers lacks")

TOLERANCE = 1e-4
TOKENS = 40
LEAVES_OPEN = {
    "zamba2": "read by nothing here",  # shared layers' matrices that transformers passes over, too
    "deepseek_v2": "in a way that is not known here",  # the scale that YaRN gives attention
    "ministral3": "in a way that is not known here",  # a factor that stands for two entries
}
"""What the file says that it does not know."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_of_an_unknown_model(tmp_path: Path, differences: Differences, architecture: str) -> None:
    from tests.oracle.test_architectures import random_model

    model = random_model(architecture, ARCHITECTURES[architecture][0], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_type"] = "novel"
    config.pop("architectures", None)  # which would name it
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokens = np.random.default_rng(1).integers(3, SIZES["vocab_size"], TOKENS)
    with torch.inference_mode():
        expected = model(torch.from_numpy(tokens)[None]).logits[0, -1].numpy()
    file = tmp_path / "novel.py"
    with open_checkpoint(tmp_path) as checkpoint:
        made = model_file(checkpoint, nearest(checkpoint), "novel")
        assert all(LEAVES_OPEN.get(architecture, "nothing") in each for each in made.todos)
        file.write_text(made.text)
        graph = loading.describe(checkpoint, file)
        assert architecture in LEAVES_OPEN or graph.notes == []
        executor = loading.open_executor(graph, checkpoint, kv_cache_dtype="float32", engine="reference")
        got = executor.run([SequenceStep(executor.cache.new_sequence(), tokens.astype(np.int32), True)])[0]
    difference = float(np.abs(got - expected).max()) / max(1.0, float(np.abs(expected).max()))
    differences.check(f"{architecture}, as init describes it", "reference", difference, TOLERANCE)
