"""Both engines on weights that are computed when they are loaded: the same as a checkpoint that holds the results."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32, float32_as_bfloat16
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.weight_types import Rule, WeightTypes
from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.engine.two_engines import KINDS, STEPS, VOCAB, checked_graph, run_steps
from tests.memory_checkpoint import MemoryCheckpoint, normal

HIDDEN, WIDE = 64, 96
CONFIG = {"max_position_embeddings": 64, "vocab_size": VOCAB}


def model(computed: bool) -> Any:
    """A build() that computes its weights, or reads the results."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        fused = weight["fused"]
        given = {
            "norm": 1 + weight["norm"], "up": fused.rows(0, WIDE), "gate": fused.rows(WIDE, 2 * WIDE),
            "down": 0.5 * weight["down"].transposed(), "bias": weight["biases"].reshaped(2, -1).rows(1, 2).reshaped(-1),
        }  # fmt: skip
        if not computed:
            given = {name: weight[f"{name}.result"] for name in given}
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        self.RMSNorm(data["x"], given["norm"], 1e-3, data["y"])
        self.Linear(data["y"], given["gate"], None, data["gate"])
        self.Linear(data["y"], given["up"], given["bias"], data["up"])
        self.Silu(data["gate"], data["gate"])
        self.MulTo(data["gate"], data["up"])
        self.Linear(data["gate"], given["down"], None, data["y"])
        self.AddTo(data["x"], data["y"])
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    return build


def checkpoint(dtype: str) -> MemoryCheckpoint:
    """Tensors, and what is computed from them."""
    norm, fused, down = normal(1, HIDDEN), normal(2, 2 * WIDE, HIDDEN, scale=0.2), normal(3, WIDE, HIDDEN, scale=0.2)
    arrays = {"norm": norm, "fused": fused, "down": down, "biases": normal(4, 2 * WIDE)}
    stored = {name: as_stored(array, dtype) for name, array in arrays.items()}
    exact = {name: as_float32(array) for name, array in stored.items()}
    results = {
        "norm.result": 1 + exact["norm"], "up.result": as_stored(exact["fused"][:WIDE], dtype),
        "gate.result": as_stored(exact["fused"][WIDE:], dtype),
        "down.result": as_stored(np.ascontiguousarray(exact["down"].T) * np.float32(0.5), dtype),
        "bias.result": exact["biases"][WIDE:],
    }  # fmt: skip
    tables = {"embed": normal(5, VOCAB, HIDDEN), "head": normal(6, VOCAB, HIDDEN, scale=0.1)}
    return MemoryCheckpoint(CONFIG, {**stored, **results, **tables})


def as_stored(array: Any, dtype: str) -> Any:
    return float32_as_bfloat16(array) if dtype == "bfloat16" else array.astype(dtype)


def as_float32(array: Any) -> Any:
    return bfloat16_as_float32(array) if array.dtype == np.uint16 else array.astype(np.float32)


def logits(kind: Any, computed: bool, held: MemoryCheckpoint, types: WeightTypes) -> Any:
    executor: Executor = kind(checked_graph(model(computed), held), held, weight_types=types, threads=2)
    try:
        return run_steps(executor, STEPS)
    finally:
        executor.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("stored", "dtype"), [("float32", "auto"), ("bfloat16", "auto"), ("float16", "auto"), ("bfloat16", "int4g32")]
)
def test_the_same_bits_as_the_results(kind: Any, stored: str, dtype: str) -> None:
    """In floats, and quantized after they were computed."""
    held, types = checkpoint(stored), WeightTypes(dtype)
    found = logits(kind, True, held, types)
    np.testing.assert_array_equal(found, logits(kind, False, held, types))
    assert np.ptp(found) > 1


def test_a_tensor_s_pages_are_given_back_whatever_is_computed_from_it() -> None:
    held = checkpoint("float32")
    logits(KINDS[0], True, held, WeightTypes())
    assert {"norm", "fused", "down", "biases"} <= set(held.released)
    assert set(held.reads) <= set(held.arrays)


def test_rules_see_the_tensor_s_name() -> None:
    held = checkpoint("float32")
    graph = checked_graph(model(True), held)
    rule = Rule(re.compile("^down$"), "int8", "a rule")
    format_of = WeightTypes(rules=(rule,)).formats(graph)
    names = {weight.tensor: format_of(weight).name for weight in graph.weights.values() if weight.type.rank == 2}
    assert names == {"embed": "float32", "fused": "float32", "down": "int8", "head": "float32"}
