"""Latent attention: one vector a token in the cache, and the same bits in any chunks, company and number of workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.cache_groups import plan_cache
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.graph.build import build_graph
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS
from ftllm_nb.models import graph_class
from tests.engine.two_engines import opened
from tests.golden.small_models import SMALL_MODELS, prompt
from tests.memory_checkpoint import MemoryCheckpoint, normal
from tests.models.small_configs import checked

RANK, TURNING = 100, 6
CONFIG = {
    **SMALL_MODELS["qwen2_gqa"],
    "model_type": "minicpm3",
    "architectures": ["MiniCPM3ForCausalLM"],
    "num_attention_heads": 18,  # more than lanes, and not as many as two vectors have
    "num_key_value_heads": 18,
    "q_lora_rank": 24,
    "kv_lora_rank": RANK,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": TURNING,
    "v_head_dim": 12,
    "max_position_embeddings": 512,
}
TOKENS = prompt("latent", 400, CONFIG["vocab_size"])
WHOLE = [380, *[1] * 4]


@pytest.fixture(scope="module")
def checkpoint() -> MemoryCheckpoint:
    shapes = build_graph(graph_class(CONFIG), CONFIG).weight_shapes()
    arrays = {
        name: 1 + normal(seed, *shape, scale=0.1) if len(shape) == 1 else normal(seed, *shape, scale=shape[1] ** -0.5)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    return MemoryCheckpoint(CONFIG, arrays)


# Attention takes half a minute to compile for each.
@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in ("float16", "float32", "int8")]
)
def kind(request: pytest.FixtureRequest) -> str:
    """Of the cache."""
    return request.param


@pytest.fixture(scope="module")
def executor(checkpoint: MemoryCheckpoint, kind: str) -> Iterator[Executor]:
    with opened(CompiledExecutor, checked(CONFIG), checkpoint, kind) as executor:
        yield executor


def logits(executor: Executor, chunks: list[int]) -> NDArray[np.float32]:
    """Those of the last four steps."""
    sequence, rows, begin = executor.cache.new_sequence(), [], 0
    for count in chunks:
        rows.append(executor.run([SequenceStep(sequence, TOKENS[begin : begin + count])])[0].copy())
        begin += count
    executor.cache.free(sequence)
    return np.stack(rows[-4:])


@pytest.mark.parametrize("chunks", [[1] * 384, [300, 77, *[1] * 7], [64, 1, 192, 123, *[1] * 4]], ids=len)
def test_any_chunks(executor: Executor, chunks: list[int]) -> None:
    np.testing.assert_array_equal(logits(executor, chunks), logits(executor, WHOLE))


@pytest.mark.parametrize("threads", [1, 4, 7])
def test_any_number_of_workers(checkpoint: MemoryCheckpoint, kind: str, executor: Executor, threads: int) -> None:
    with opened(CompiledExecutor, checked(CONFIG), checkpoint, kind, threads) as other:
        np.testing.assert_array_equal(logits(other, WHOLE), logits(executor, WHOLE))


def test_any_company(executor: Executor) -> None:
    expected = logits(executor, WHOLE)
    first, second = executor.cache.new_sequence(), executor.cache.new_sequence()
    executor.run([SequenceStep(first, TOKENS[:380]), SequenceStep(second, TOKENS[7:40])])
    for at in range(4):
        steps = [SequenceStep(second, TOKENS[40 + at : 41 + at]), SequenceStep(first, TOKENS[380 + at : 381 + at])]
        np.testing.assert_array_equal(executor.run(steps)[1], expected[at])
    for sequence in (first, second):
        executor.cache.free(sequence)


def test_both_engines_agree(checkpoint: MemoryCheckpoint, executor: Executor, kind: str) -> None:
    with opened(ReferenceExecutor, checked(CONFIG), checkpoint, kind) as reference:
        expected = logits(reference, WHOLE)
    np.testing.assert_allclose(logits(executor, WHOLE), expected, atol=3e-2 * np.abs(expected).max())


def test_the_cache_holds_one_vector_a_token() -> None:
    plan = plan_cache(checked(CONFIG).caches, "float16")
    (size,) = plan.held_bytes(BLOCK_POSITIONS).values()
    assert size == CONFIG["num_hidden_layers"] * BLOCK_POSITIONS * 2 * (RANK + TURNING)
