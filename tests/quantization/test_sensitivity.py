"""How far answers move when a matrix is rounded: measured as the model itself would."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import EngineError
from ftllm_nb.loading import describe, open_executor
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.sensitivity import divergences, mean_divergence
from tests.memory_checkpoint import MemoryCheckpoint
from tests.quantization.test_calibration import DEMO, WINDOWS

LAYERS = ("model.layers.1.mlp.down_proj.weight", "model.layers.4.self_attn.v_proj.weight")


def changed(name: str, weights: np.ndarray) -> np.ndarray:
    """The matrix, off by a tenth of its size."""
    noise = np.random.default_rng(len(name)).standard_normal(weights.shape)
    return (weights + 0.1 * weights.std() * noise).astype(np.float32)


def logits(tensors: dict[str, np.ndarray] | None = None) -> list[np.ndarray]:
    """What the model makes of the windows, with some other tensors."""
    with open_checkpoint(DEMO) as checkpoint:
        all_tensors = {name: read_float32(checkpoint, name) for name in checkpoint.tensors}
        made = MemoryCheckpoint(checkpoint.config, {**all_tensors, **(tensors or {})})
        types = WeightTypes("float32")
        executor = open_executor(describe(made), made, types, kv_cache_dtype="float32", engine="reference")
        found = []
        for ids in WINDOWS[:2]:
            sequence = executor.cache.new_sequence()
            found.append(executor.run([SequenceStep(sequence, ids, len(ids))]).copy())
            executor.cache.free(sequence)
        executor.close()
    return found


def test_a_matrix_moves_answers_as_far_as_it_does() -> None:
    """Where one matrix of a layer changes, its share is all of what the layer changes."""
    with open_checkpoint(DEMO) as checkpoint:
        graph = describe(checkpoint)
        wanted = {name for name in checkpoint.tensors if "layers" in name and "proj.weight" in name}
        tensors = {name: changed(name, read_float32(checkpoint, name)) for name in LAYERS}

        def replace(name: str, weights: np.ndarray, moments: Moments) -> np.ndarray:
            assert moments.count == sum(map(len, WINDOWS[:2])) and moments.columns == weights.shape[1]
            return tensors.get(name, weights)

        found = divergences(graph, checkpoint, WINDOWS[:2], wanted, replace, products=False)
    assert found.keys() == wanted
    base = logits()
    for name in LAYERS:
        expected = np.mean([
            mean_divergence(one, other) for one, other in zip(base, logits({name: tensors[name]}), strict=True)
        ])  # fmt: skip
        np.testing.assert_allclose(found[name], expected, rtol=1e-3)
    assert max(value for name, value in found.items() if name not in LAYERS) < 1e-9


def test_shares_of_a_layer_are_as_what_each_moves() -> None:
    with open_checkpoint(DEMO) as checkpoint:
        graph = describe(checkpoint)
        names = [f"model.layers.2.mlp.{kind}_proj.weight" for kind in ("gate", "up", "down")]
        found = divergences(
            graph, checkpoint, WINDOWS[:2], set(names), lambda name, weights, _: changed(name, weights), products=False
        )
        tensors = {name: changed(name, read_float32(checkpoint, name)) for name in names}
    base = logits()
    for name in names:
        alone = np.mean([
            mean_divergence(one, other) for one, other in zip(base, logits({name: tensors[name]}), strict=True)
        ])  # fmt: skip
        assert 0.4 < found[name] / alone < 2.5


def test_infinite_logits_are_one_sentence() -> None:
    with open_checkpoint(DEMO) as checkpoint, pytest.raises(EngineError, match="makes logits infinite or NaN"):
        divergences(
            describe(checkpoint), checkpoint, WINDOWS[:1], {LAYERS[0]},
            lambda name, weights, _: np.full_like(weights, 3e38), products=False,
        )  # fmt: skip
