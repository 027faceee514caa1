"""What the README says is true: its links and targets exist, and its model answers as transformers does."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from tests.golden.golden_logits import golden_logits
from tests.golden.small_models import SMALL_MODELS, prompt, write_checkpoint

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"


def tree_files() -> list[Path]:
    """What `make tree` prints."""
    return [file for name in ("src/ftllm_nb", "bench", "examples", "docs") for file in (ROOT / name).rglob("*.py")]


def test_every_file_has_a_phrase() -> None:
    """The tree is made of docstrings, so that it is never out of date."""
    summary = runpy.run_path(str(DOCS / "tree.py"))["summary"]
    assert [file for file in tree_files() if file.stat().st_size and not summary(file)] == []


def test_the_tree_is_printed() -> None:
    command = [sys.executable, str(DOCS / "tree.py"), "src/ftllm_nb/engine"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed[0].startswith("engine/ ")
    assert {line.split()[0] for line in printed[1:]} >= {"scheduler.py", "threads.py"}


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b", README)) <= targets


def test_model_in_the_readme(tmp_path: Path) -> None:
    (source,) = (
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "__model__" in block
    )
    custom = tmp_path / "llama.py"
    custom.write_text(source, encoding="utf-8")
    model = "llama_biases"
    folder = write_checkpoint(tmp_path / model, model, SMALL_MODELS[model])
    expected = golden_logits()[model, "float32"]
    with open_checkpoint(folder) as checkpoint:
        graph = loading.describe(checkpoint, custom)
        executor = loading.open_executor(graph, checkpoint, kv_cache_dtype="float32", engine="reference")
        logits = executor.run([SequenceStep(executor.cache.new_sequence(), prompt(model, *expected.shape))])
        np.testing.assert_allclose(logits[0], expected[-1], rtol=0, atol=1e-4)
        executor.close()
