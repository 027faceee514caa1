"""bench/trained_copy.py: all weights move, the text is foretold better, and a seed makes one copy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import ftllm_nb
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli import main
from ftllm_nb.engine.weight_loading import read_float32

pytestmark = pytest.mark.oracle
pytest.importorskip("torch", reason="`make oracle` installs it")

ROOT = Path(__file__).parents[2]
DEMO = Path(ftllm_nb.__file__).parent / "demo"
README = ROOT / "README.md"


def train(out: Path, sequences: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "bench" / "trained_copy.py", DEMO, out, "--text", README, "--length", "64"]
    more = ["--sequences", str(sequences), "--rate", "1e-3", "-t", "1"]
    return subprocess.run([*command, *more], capture_output=True, text=True)


def test_a_copy_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        done = train(tmp_path / name, 24)
        assert done.returncode == 0, done.stderr
    assert "weights moved by" in done.stdout
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    with open_checkpoint(DEMO) as checkpoint:
        before = {name: read_float32(checkpoint, name) for name in checkpoint.tensors}
    assert one.keys() == before.keys()
    for name, tensor in one.items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, two[name])
        if tensor.ndim == 2:
            assert (tensor != before[name]).mean() > 0.5, name
    flags = ["--dtype", "float32", "--text", str(README), "--window", "128", "--also", str(tmp_path / "one"), "--json"]
    assert main(["perplexity", "demo", *flags]) == 0
    demo, trained = (row["score"]["perplexity"] for row in json.loads(capsys.readouterr().out)["rows"])
    assert trained < 0.9 * demo


def test_a_text_that_is_too_short(tmp_path: Path) -> None:
    done = train(tmp_path / "out", 10**6)
    assert done.returncode == 2 and "ask for fewer" in done.stderr and not (tmp_path / "out").exists()
