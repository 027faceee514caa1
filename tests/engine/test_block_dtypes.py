"""Floats that become ggml's block types while a model loads: both executors, whatever the threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.engine.weight_types import embedding_type
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quant.base import weight_format
from tests.engine.test_quantized_models import divergences, logits
from tests.executors import open_executor
from tests.golden.small_models import SMALL_MODELS, write_checkpoint
from tests.memory_checkpoint import normal

CONFIG = {**SMALL_MODELS["llama_mha"], "hidden_size": 256, "intermediate_size": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "m", "llama_head_dim", CONFIG, "float32")


# Products of Q4_K are compiled for other quick tests, too.
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("iq4_nl", "q5_1")]


@pytest.mark.parametrize("dtype", ["q4_k", *SLOW])
def test_both_executors_compute_with_the_same_blocks(folder: Path, dtype: str) -> None:
    """The compiled engine rounds activations, which moves distributions a little."""
    with open_executor("reference", folder, dtype=dtype) as executor:
        expected = logits(executor)
    with open_executor("compiled", folder, dtype=dtype) as executor:
        found = logits(executor)
    assert 0 < divergences(expected, found).mean() < 5e-3
    with open_executor("compiled", folder, dtype=dtype, threads=1) as executor:
        np.testing.assert_array_equal(logits(executor), found)


def test_embeddings_keep_8_bits() -> None:
    assert embedding_type("iq4_nl") == embedding_type("q6_k") == embedding_type("int4g32") == "int8g128"
    assert embedding_type("int8") == "int8" and embedding_type("float16") == "float16"


def test_the_definition_is_what_blocks_stand_for() -> None:
    weights = normal(1, 5, 64)
    rounded = weight_format("iq4_nl").rounded(weights)
    assert rounded.shape == weights.shape and 0 < np.abs(rounded - weights).max() < 0.4
    assert len(np.unique(rounded[0, :32])) <= 16


@pytest.mark.parametrize(
    ("factor", "says"),
    [(2.0**-24, "holds numbers too small for q4_k, whose scales"), (np.nan, "holds numbers that are not finite, or")],
)
def test_weights_that_no_scale_holds_are_a_sentence(tmp_path: Path, factor: float, says: str) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    folder = write_checkpoint(tmp_path / "m", "llama_head_dim", CONFIG, "float32", {name: factor})
    with pytest.raises(CheckpointError, match=f'"{name}" {says}'), open_executor("compiled", folder, dtype="q4_k"):
        pass
