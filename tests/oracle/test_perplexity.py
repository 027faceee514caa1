"""`ftllm-nb perplexity` against the loop of transformers' guide to the perplexity of models of a fixed length."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import ftllm_nb
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli import main
from ftllm_nb.engine.weight_loading import read_float32

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")

DEMO = Path(ftllm_nb.__file__).parent / "demo"
README = Path(__file__).parents[2] / "README.md"
WINDOW = 128


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model with other weights in its last layers, in float32."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(DEMO, folder)
    random = np.random.default_rng(0)
    with open_checkpoint(DEMO) as checkpoint:
        tensors = {name: read_float32(checkpoint, name) for name in checkpoint.tensors}
    for name, values in tensors.items():
        if "layers.5." in name and values.ndim == 2:
            values += random.standard_normal(values.shape, np.float32) * np.float32(0.02)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("stride", [WINDOW // 2, WINDOW, 50])
def test_perplexity_and_divergence(
    tmp_path: Path, other: Path, capsys: pytest.CaptureFixture[str], stride: int
) -> None:
    text = README.read_text(encoding="utf-8")[:2000]
    file = tmp_path / "text.txt"
    file.write_text(text, encoding="utf-8")
    flags = ["--window", str(WINDOW), "--stride", str(stride), "--base", "float32", "--also", str(other), "--json"]
    assert main(["perplexity", "demo", "--dtype", "float32", "--text", str(file), *flags]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)["rows"]

    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    load = transformers.AutoModelForCausalLM.from_pretrained
    models = [load(folder, dtype=torch.float32) for folder in (DEMO, other)]
    ids = tokenizer(text, return_tensors="pt").input_ids
    losses: list[list[float]] = [[], []]
    divergences: list[float] = []
    counts: list[int] = []
    previous_end = 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + WINDOW, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - previous_end)] = -100
        judged = labels[0, 1:] != -100
        rows = []
        for model, collected in zip(models, losses, strict=True):
            with torch.inference_mode():
                answer = model(ids[:, begin:end], labels=labels)
            collected.append(float(answer.loss) * int(judged.sum()))
            rows.append(torch.log_softmax(answer.logits[0, :-1][judged].double(), -1))
        counts.append(int(judged.sum()))
        each = torch.nn.functional.kl_div(rows[1], rows[0], reduction="none", log_target=True).sum(-1)
        divergences += each.tolist()
        previous_end = end
        if end == ids.shape[1]:
            break

    for row, collected in zip((ours, theirs), losses, strict=True):
        assert row["score"]["tokens"] == sum(counts)
        assert row["score"]["perplexity"] == pytest.approx(math.exp(sum(collected) / sum(counts)), rel=1e-4)
    assert theirs["fidelity"]["mean"] == pytest.approx(np.mean(divergences), rel=1e-4)
    assert theirs["fidelity"]["largest"] == pytest.approx(max(divergences), rel=1e-3)
    assert theirs["fidelity"]["percentile_99"] == pytest.approx(np.percentile(divergences, 99), rel=1e-3)
