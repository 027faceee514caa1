"""One graph on both engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.ops.base import Operator
from tests.graph.small_graphs import Build, graph_class
from tests.memory_checkpoint import MemoryCheckpoint

Floats = NDArray[np.float32]
KINDS = (CompiledExecutor, ReferenceExecutor)

VOCAB = 19
IDS = (np.arange(400) * 7 % VOCAB).astype(np.int32)
STEPS = [[(0, 0, 5), (1, 5, 6)], [(1, 6, 7), (0, 9, 12)], [(0, 1, 2), (1, 3, 4)]]
"""Steps: of each, the sequence, the first of the `IDS` that are appended to it, and their end."""


def checked_graph(
    build: Build, checkpoint: MemoryCheckpoint, operators: tuple[type[Operator], ...] = ()
) -> CheckedGraph:
    """The checked graph of a build() on a checkpoint."""
    model = type("Model", (graph_class(build),), {"operators": operators})
    return check_graph(build_graph(model, checkpoint.config), checkpoint.tensors)


@contextmanager
def opened(
    kind: Any, graph: CheckedGraph, checkpoint: MemoryCheckpoint, kv_cache_dtype: str = "float32", threads: int = 2
) -> Iterator[Executor]:
    """An executor of that kind, closed afterwards."""
    executor = kind(graph, checkpoint, kv_cache_dtype=kv_cache_dtype, threads=threads)
    try:
        yield executor
    finally:
        executor.close()


def run_steps(executor: Executor, steps: list[list[tuple[int, int, int]]]) -> Floats:
    """The logits of all steps, in one table."""
    highest = max(number for step in steps for number, _, _ in step)
    sequences = [executor.cache.new_sequence() for _ in range(1 + highest)]
    rows = [
        executor.run([SequenceStep(sequences[number], IDS[begin:end]) for number, begin, end in step]).copy()
        for step in steps
    ]
    return np.concatenate(rows)


def assert_alike(
    build: Build,
    arrays: Mapping[str, NDArray[Any]],
    config: Mapping[str, Any] | None = None,
    operators: tuple[type[Operator], ...] = (),
    steps: list[list[tuple[int, int, int]]] = STEPS,
    kv_cache_dtype: str = "float32",
    within: float = 2e-5,
) -> None:
    """Both engines give the same logits, up to the rounding of sums."""
    checkpoint = MemoryCheckpoint({"max_position_embeddings": 256, "vocab_size": VOCAB, **(config or {})}, arrays)
    graph = checked_graph(build, checkpoint, operators)
    results = []
    for kind in KINDS:
        with opened(kind, graph, checkpoint, kv_cache_dtype) as executor:
            results.append(run_steps(executor, steps))
    compiled, reference = results
    assert np.isfinite(reference).all()
    np.testing.assert_allclose(compiled, reference, rtol=0, atol=within * max(1, np.abs(reference).max()))
