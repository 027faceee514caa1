"""The text part of models that see or hear, against transformers: under each name that its tensors have had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.blocks import TextPart
from tests.executors import ENGINES, open_executor
from tests.oracle.config_parts import SIZES
from tests.oracle.differences import Differences
from tests.oracle.text_parts import TEXT_PARTS

pytestmark = pytest.mark.oracle
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")
safetensors = pytest.importorskip("safetensors.numpy", reason="`make oracle` installs it")
# Which is skipped where transformers is not installed.
from tests.oracle.test_architectures import (  # noqa: E402
    DECODED,
    PROMPT,
    TOLERANCE,
    expected_logits,
    our_logits,
    save_random,
    with_sizes,
)

ROWS = [(name, number) for name, configs in TEXT_PARTS.items() for number in range(len(configs))]


@pytest.mark.parametrize(("architecture", "number"), ROWS, ids=[f"{name}-{number}" for name, number in ROWS])
def test_logits(tmp_path: Path, differences: Differences, architecture: str, number: int) -> None:
    changes = TEXT_PARTS[architecture][number]
    entries = changes | {"text_config": with_sizes(changes["text_config"])}
    model = save_random(transformers.AutoModelForImageTextToText, architecture, entries, tmp_path)
    tokens = np.random.default_rng(number).integers(3, SIZES["vocab_size"], PROMPT + DECODED)
    whole_fails = architecture == "llama4"  # it takes no text without a picture in transformers 5.24
    expected = expected_logits(model.language_model if whole_fails else model, tokens)
    scale = max(1.0, float(np.abs(expected).max()))
    got = {}
    for engine in ENGINES:
        with open_executor(engine, tmp_path) as executor:
            got[engine] = our_logits(executor, tokens, [PROMPT])
            difference = float(np.abs(got[engine] - expected).max()) / scale
        differences.check(f"{architecture}, configuration {number}", engine, difference, TOLERANCE)
    rename_text_part(tmp_path)
    with open_executor("compiled", tmp_path) as executor:
        again = our_logits(executor, tokens, [1, 7, 20, 12])
        np.testing.assert_array_equal(again, got["compiled"], "in chunks, under the other names")


def rename_text_part(folder: Path) -> None:
    """Give the text part of the saved model the other form of names."""
    (path,) = folder.glob("*.safetensors")
    tensors = safetensors.load_file(path)
    old, new = TextPart.places
    if any(name.startswith(new[0]) for name in tensors):
        old, new = new, old
    renamed = {
        name.replace(old[0], new[0], 1)
        if name.startswith(old[0])
        else name.replace(f"{old[1]}.", f"{new[1]}.", 1): tensor
        for name, tensor in tensors.items()
    }
    assert set(renamed) != set(tensors)
    safetensors.save_file(renamed, path, metadata={"format": "pt"})
    assert json.loads((folder / "config.json").read_text())["text_config"]
