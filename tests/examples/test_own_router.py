"""The example of a router of one's own: the same answers as the model that was cut into experts, in one walk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import llm
from ftllm_nb.engine.compiled_executor import CompiledExecutor

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_router.py"
pytestmark = pytest.mark.slow  # experts' kernels of floats are compiled for it alone
QUESTION = "What is 17 + 25?"


def test_it_computes_what_the_whole_model_does() -> None:
    with llm.model("demo", threads=2) as model:
        expected = np.array(model.response_logits(QUESTION))
    with llm.model("demo", graph=EXAMPLE, threads=2) as model:
        got = np.array(model.response_logits(QUESTION))
        executor = model.loaded.executor
        assert isinstance(executor, CompiledExecutor)
        assert all(isinstance(segment, np.ndarray) for segment in executor._program.segments)
    np.testing.assert_allclose(got, expected, atol=1e-3 * np.abs(expected).max())
