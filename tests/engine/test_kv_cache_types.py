"""Each type of the KV cache gives what the reference executor computes with keys and values rounded to that type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep
from tests.executors import open_executor
from tests.golden.small_models import PAIRS, prompt, write_checkpoint

CONFIG = {**PAIRS, "max_position_embeddings": 512}
TOKENS = prompt("kv_cache_types", 150, CONFIG["vocab_size"])
DECODED = 3


def logits(executor: Executor) -> NDArray[np.float32]:
    """Of a prompt that fills several cache blocks, then of tokens one by one."""
    sequence = executor.cache.new_sequence()
    rows = [executor.run([SequenceStep(sequence, TOKENS[:-DECODED])])[0].copy()]
    for token in TOKENS[-DECODED:]:
        rows.append(executor.run([SequenceStep(sequence, np.array([token]))])[0].copy())
    return np.stack(rows)


@pytest.mark.parametrize("kv_cache_dtype", [
    "float32", "float16", *(pytest.param(each, marks=pytest.mark.slow) for each in ("int8", "int4", "int8int4"))
])
def test_equals_the_reference(tmp_path: Path, kv_cache_dtype: str) -> None:
    folder = write_checkpoint(tmp_path / "m", "kv_cache_types", CONFIG, "float32")
    results = {}
    for engine in ("compiled", "reference"):
        with open_executor(engine, folder, kv_cache_dtype=kv_cache_dtype) as executor:
            results[engine] = logits(executor)
    with open_executor("reference", folder, kv_cache_dtype="float32") as executor:
        exact = logits(executor)
    # Rounding goes the other way where the two differ in the last bit before it: a step of the cache's type.
    bound = {"float32": 2e-5, "float16": 2e-4, "int8": 2e-3, "int4": 3e-2, "int8int4": 3e-2}[kv_cache_dtype]
    assert np.abs(results["compiled"] - results["reference"]).max() < bound
    if kv_cache_dtype != "float32":
        difference = np.abs(results["compiled"] - exact).max()
        most = 0.4 if "int4" in kv_cache_dtype else 0.1
        assert 0 < difference < most, "the cache is rounded, and not by more than its type rounds"
