"""What the README says is true: its tree exists and is whole, and its model answers as transformers does."""

from __future__ import annotations

import re
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
NOT_IN_TREE = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}


def tree_paths() -> list[str]:
    """The paths of the README's tree, relative to the repository."""
    section = README.split("## The tree", 1)[1].split("```", 2)[1]
    paths: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in section.strip("\n").splitlines():
        indent = len(line) - len(line.lstrip())
        name, _, phrase = line.strip().partition(" ")
        assert phrase.strip(), f"{name} has no phrase"
        while parents and parents[-1][0] >= indent:
            parents.pop()
        path = (parents[-1][1] if parents else "") + name
        paths.append(path)
        if name.endswith("/"):
            parents.append((indent, path))
    return paths


def test_tree_names_what_exists() -> None:
    missing = [path for path in tree_paths() if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("folder", ["src/ftllm_nb/", "examples/", "bench/"])
def test_tree_is_whole(folder: str) -> None:
    """Every file and folder at the top of the package, of the examples and of the benchmarks is named."""
    named = {path.removeprefix(folder).split("/")[0] for path in tree_paths() if path.startswith(folder)}
    present = {entry.name for entry in (ROOT / folder).iterdir()} - NOT_IN_TREE
    assert present <= named


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
        logits = executor.run([SequenceStep(executor.new_sequence(), prompt(model, *expected.shape))])
        np.testing.assert_allclose(logits[0], expected[-1], rtol=0, atol=1e-4)
        executor.close()
