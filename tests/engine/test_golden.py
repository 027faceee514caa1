"""Both executors against transformers' stored logits, however the prompt is cut into steps.

Weights are what the checkpoint holds, the cache is float32, and logits must be within 1e-4. Each case runs
once on the compiled kernels and once on the operators' NumPy references.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.errors import EngineError
from tests.executors import ENGINES, open_executor
from tests.golden.golden_logits import golden_logits
from tests.golden.small_models import SMALL_MODELS, prompt, write_checkpoint

TOLERANCE = 1e-4


def is_quick(engine: str, model: str) -> bool:
    """Attention is compiled for each number of queries to a key: for 1 to 3 in quick tests."""
    config = SMALL_MODELS[model]
    return engine != "compiled" or config["num_attention_heads"] // config["num_key_value_heads"] < 4


RUNS = [
    pytest.param(
        (engine, case),
        marks=[] if is_quick(engine, case[0]) else [pytest.mark.slow],
        id=f"{engine}-{'.'.join(case)}",
    )
    for engine in ENGINES
    for case in sorted(golden_logits())
]


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> tuple[str, tuple[str, str]]:
    """The engine, and the model with its stored type."""
    return request.param


@pytest.fixture(scope="module")
def case(run: tuple[str, tuple[str, str]]) -> tuple[str, str]:
    return run[1]


@pytest.fixture(scope="module")
def expected(case: tuple[str, str]) -> NDArray[np.float32]:
    return golden_logits()[case]


@pytest.fixture(scope="module")
def token_ids(case: tuple[str, str], expected: NDArray[np.float32]) -> NDArray[np.int32]:
    return prompt(case[0], *expected.shape)


@pytest.fixture(scope="module")
def executor(
    run: tuple[str, tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    engine, (model, stored_type) = run
    folder = tmp_path_factory.mktemp("checkpoint") / model
    write_checkpoint(folder, model, SMALL_MODELS[model], stored_type)
    with open_executor(engine, folder) as executor:
        yield executor


def assert_close(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("length", [1, 2, 17, 45])
def test_prefill_at_once(
    executor: Executor, token_ids: NDArray[np.int32], expected: NDArray[np.float32], length: int
) -> None:
    sequence = executor.cache.new_sequence()
    logits = executor.run([SequenceStep(sequence, token_ids[:length])])
    assert logits.shape == (1, expected.shape[1])
    assert logits.dtype == np.float32
    assert_close(logits[0], expected[length - 1])
    assert sequence.length == length
    executor.cache.free(sequence)


@pytest.mark.parametrize("chunk", [1, 7, 16, 44])
def test_prefill_in_chunks(
    executor: Executor, token_ids: NDArray[np.int32], expected: NDArray[np.float32], chunk: int
) -> None:
    """Chunks of one token are decoding step by step: every step's logits are compared."""
    sequence = executor.cache.new_sequence()
    for start in range(0, len(token_ids), chunk):
        tokens = token_ids[start : start + chunk]
        logits = executor.run([SequenceStep(sequence, tokens)])
        assert_close(logits[0], expected[start + len(tokens) - 1])
    executor.cache.free(sequence)


def test_inner_chunks_give_no_logits(
    executor: Executor, token_ids: NDArray[np.int32], expected: NDArray[np.float32]
) -> None:
    sequence = executor.cache.new_sequence()
    inner = executor.run([SequenceStep(sequence, token_ids[:20], wants_logits=False)])
    assert inner.shape == (0, expected.shape[1])
    assert_close(executor.run([SequenceStep(sequence, token_ids[20:30])])[0], expected[29])
    executor.cache.free(sequence)


def test_logits_of_many_tokens(
    executor: Executor, token_ids: NDArray[np.int32], expected: NDArray[np.float32]
) -> None:
    """Of all tokens of one sequence and the last few of another, then of the rest of the first."""
    first, second = executor.cache.new_sequence(), executor.cache.new_sequence()
    logits = executor.run(
        [SequenceStep(first, token_ids[:20], wants_logits=20), SequenceStep(second, token_ids[:9], wants_logits=3)]
    )
    assert_close(logits, np.concatenate([expected[:20], expected[6:9]]))
    assert_close(executor.run([SequenceStep(first, token_ids[20:45], wants_logits=25)]), expected[20:])
    for sequence in (first, second):
        executor.cache.free(sequence)


@pytest.mark.parametrize("count", [-1, 6])
def test_logits_of_tokens_that_are_not_in_the_step(
    executor: Executor, token_ids: NDArray[np.int32], count: int
) -> None:
    with pytest.raises(EngineError, match="tokens of a step"):
        executor.run([SequenceStep(executor.cache.new_sequence(), token_ids[:5], wants_logits=count)])


def test_several_sequences_in_a_step(
    executor: Executor, token_ids: NDArray[np.int32], expected: NDArray[np.float32]
) -> None:
    """Sequences of different lengths, some prefilled and some decoded in one step, one without logits."""
    sequences = [executor.cache.new_sequence() for _ in range(4)]
    cuts = [(0, 3, 4, 5), (0, 30, 31, 45), (0, 1, 17, 18), (0, 9, 9, 33)]
    for step in range(3):
        active = [index for index, cut in enumerate(cuts) if cut[step] < cut[step + 1]]
        steps = [
            SequenceStep(
                sequences[index],
                token_ids[cuts[index][step] : cuts[index][step + 1]],
                wants_logits=(index, step) != (2, 1),
            )
            for index in active
        ]
        logits = executor.run(steps)
        wanted = [index for index in active if (index, step) != (2, 1)]
        assert len(logits) == len(wanted)
        for row, index in zip(logits, wanted, strict=True):
            assert_close(row, expected[cuts[index][step + 1] - 1])
    for sequence in sequences:
        executor.cache.free(sequence)


def test_truncated_sequence_continues_from_the_common_prefix(
    executor: Executor, token_ids: NDArray[np.int32], expected: NDArray[np.float32]
) -> None:
    sequence = executor.cache.new_sequence()
    executor.run([SequenceStep(sequence, np.concatenate([token_ids[:21], token_ids[:12]]))])
    executor.cache.truncate(sequence, 21)
    assert sequence.length == 21
    assert_close(executor.run([SequenceStep(sequence, token_ids[21:40])])[0], expected[39])
    executor.cache.free(sequence)
