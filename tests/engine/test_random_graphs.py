"""Whatever operators a graph strings together, the compiled engine computes what the references say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.engine import compiled_executor
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.fuse import fuse
from tests.engine.two_engines import opened
from tests.graph.random_graphs import VOCAB, RandomGraph, random_graphs

IDS = (np.arange(40) * 7 % VOCAB).astype(np.int32)
# Graphs are short already, and each takes a while: not shrunk.
examples = settings(
    max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def logits(executor: Executor) -> NDArray[np.float32]:
    """Of two prompts in one step, then of a step that decodes one, prefills another and begins a third."""
    first, second, third = (executor.cache.new_sequence() for _ in range(3))
    steps = [
        [SequenceStep(first, IDS[:9]), SequenceStep(second, IDS[3:4])],
        [SequenceStep(second, IDS[9:10]), SequenceStep(third, IDS[10:11], False), SequenceStep(first, IDS[20:23])],
        [SequenceStep(each, IDS[at : at + 1]) for at, each in enumerate((third, first, second))],
    ]
    return np.concatenate([executor.run(step).copy() for step in steps])


@examples
@given(random_graphs())
def test_compiled_equals_reference(graph: RandomGraph) -> None:
    checked, checkpoint = graph.checked(), graph.checkpoint()
    with opened(CompiledExecutor, checked, checkpoint) as compiled:
        with opened(ReferenceExecutor, checked, checkpoint) as reference:
            expected = logits(reference)
        np.testing.assert_allclose(logits(compiled), expected, rtol=0, atol=1e-3 * max(1, np.abs(expected).max()))


@examples
@given(random_graphs())
def test_fusion_changes_no_bit(graph: RandomGraph) -> None:
    checked, checkpoint = graph.checked(), graph.checkpoint()
    with opened(CompiledExecutor, checked, checkpoint) as compiled:
        fused = logits(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_executor, "fuse", lambda checked, format_of: checked)
        with opened(CompiledExecutor, checked, checkpoint) as compiled:
            np.testing.assert_array_equal(logits(compiled), fused)


@examples
@given(random_graphs())
def test_fused_operators_are_defined_as_what_they_stand_for(graph: RandomGraph) -> None:
    """The references of fused operators, which only this test runs."""
    checked, checkpoint = graph.checked(), graph.checkpoint()
    with opened(ReferenceExecutor, checked, checkpoint) as reference:
        expected = logits(reference)
    with opened(ReferenceExecutor, fuse(checked, WeightTypes().formats(checked)), checkpoint) as reference:
        np.testing.assert_array_equal(logits(reference), expected)


# What a graph is has nothing to do with what the cache keeps, and attention is compiled for each type of it.
@pytest.mark.parametrize(
    "kv_cache_dtype", ["float32", *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float16", "int8"))]
)
@settings(examples, max_examples=10)
@given(random_graphs(), st.sampled_from(["float32", "bfloat16", "int8", "int4g32"]))
def test_the_same_bits_on_any_workers_and_in_any_chunks(kv_cache_dtype: str, graph: RandomGraph, dtype: str) -> None:
    """Beside another sequence, which grows in each step."""
    checked, checkpoint = graph.checked(), graph.checkpoint()
    types = WeightTypes(dtype, embedding_dtype=dtype)
    results = []
    for threads, chunks in ((1, [30]), (3, [1] * 30), (2, [7, 16, 1, 6])):
        executor = CompiledExecutor(
            checked, checkpoint, weight_types=types, kv_cache_dtype=kv_cache_dtype, threads=threads
        )
        sequence, other, begin = executor.cache.new_sequence(), executor.cache.new_sequence(), 0
        for count in chunks:
            steps = [SequenceStep(other, IDS[:2], False), SequenceStep(sequence, IDS[begin : begin + count])]
            found = executor.run(steps).copy()
            begin += count
        executor.close()
        results.append(found)
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])
