"""Logits are equal bit for bit whatever the number of workers, the chunks of a prompt and the company."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.kernels.tiers import current_tier
from tests.executors import open_executor
from tests.golden.small_models import PAIRS, prompt, write_checkpoint

# Large enough that seven workers all get rows, heads and blocks of the cache; no size is a multiple of 16.
CONFIG = {
    **PAIRS,
    "hidden_size": 180,
    "intermediate_size": 380,
    "vocab_size": 501,
    "max_position_embeddings": 1024,
}
TOKENS = prompt("same_answer", 333, CONFIG["vocab_size"])
DECODED = 6
WORKERS = (1, 2, pytest.param(4, marks=pytest.mark.slow), 7)


# Products know nothing of the cache, and attention nothing of the weights: not every pair is told.
TYPES = [
    ("float32", "float32"), ("float16", "float16"), ("bfloat16", "float16"),
    *(pytest.param(types, marks=pytest.mark.slow) for types in (("int8g128", "float16"), ("int4g32", "int8"))),
]  # fmt: skip


@pytest.fixture(scope="module", params=TYPES, ids="-".join)
def types(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Of the weights and of the cache."""
    return request.param


@pytest.fixture(scope="module")
def folder(types: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    stored = "bfloat16" if types[0].startswith("int") else types[0]
    return write_checkpoint(tmp_path_factory.mktemp("model") / "m", "same_answer", CONFIG, stored)


@pytest.fixture(scope="module", params=WORKERS)
def executor(folder: Path, types: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Executor]:
    """More workers than this machine has cores are wanted here: `open_executor` does not cap them."""
    dtype, kept = types
    with open_executor("compiled", folder, dtype=dtype, kv_cache_dtype=kept, threads=request.param) as executor:
        yield executor


@pytest.fixture(scope="module")
def expected(folder: Path, types: tuple[str, str]) -> NDArray[np.float32]:
    """Logits [1 + DECODED, vocab]: the prompt as large steps on one worker, then token by token."""
    dtype, kept = types
    with open_executor("compiled", folder, dtype=dtype, kv_cache_dtype=kept, threads=1) as executor:
        return prefill_then_decode(executor, len(TOKENS))


def prefill(
    executor: Executor, sequence: object, tokens: NDArray[np.int32], chunk: int
) -> NDArray[np.float32]:
    """Logits after the last token, with the prompt in chunks of at most `chunk` tokens."""
    chunk = min(chunk, executor.max_step_tokens)
    for start in range(0, len(tokens), chunk):
        last = start + chunk >= len(tokens)
        logits = executor.run([SequenceStep(sequence, tokens[start : start + chunk], wants_logits=last)])
    return logits[0].copy()


def prefill_then_decode(executor: Executor, chunk: int) -> NDArray[np.float32]:
    sequence = executor.cache.new_sequence()
    rows = [prefill(executor, sequence, TOKENS[:-DECODED], chunk)]
    for token in TOKENS[-DECODED:]:
        rows.append(executor.run([SequenceStep(sequence, np.array([token]))])[0].copy())
    executor.cache.free(sequence)
    return np.stack(rows)


CHUNKS = [len(TOKENS), 1, 16, 50, 128, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in (3, 200))]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_any_chunks_on_any_number_of_workers(
    executor: Executor, expected: NDArray[np.float32], chunk: int
) -> None:
    np.testing.assert_array_equal(prefill_then_decode(executor, chunk), expected)


def test_beside_other_sequences(executor: Executor, expected: NDArray[np.float32]) -> None:
    """The sequence decodes between two others, one of which is prefilled in the same steps."""
    sequence, shorter, newcomer = (executor.cache.new_sequence() for _ in range(3))
    prefill(executor, shorter, TOKENS[5:40], 35)
    logits = prefill(executor, sequence, TOKENS[:-DECODED], 64)
    np.testing.assert_array_equal(logits, expected[0])
    for number, start in enumerate(range(len(TOKENS) - DECODED, len(TOKENS))):
        logits = executor.run(
            [
                SequenceStep(shorter, TOKENS[number : number + 1]),
                SequenceStep(sequence, TOKENS[start : start + 1]),
                SequenceStep(newcomer, TOKENS[number * 9 : number * 9 + 9], wants_logits=number % 2 == 0),
            ]
        )
        np.testing.assert_array_equal(logits[1], expected[number + 1])
    for each in (sequence, shorter, newcomer):
        executor.cache.free(each)


def test_prefilled_beside_another_prompt(executor: Executor, expected: NDArray[np.float32]) -> None:
    """Two prompts share every step; the cache blocks that they use lie in each other's way."""
    other, sequence = executor.cache.new_sequence(), executor.cache.new_sequence()
    end = len(TOKENS) - DECODED
    for start in range(0, end, 40):
        tokens = TOKENS[:end][start : start + 40]
        logits = executor.run([SequenceStep(other, tokens[::-1].copy()), SequenceStep(sequence, tokens)])
    np.testing.assert_array_equal(logits[1], expected[0])
    executor.cache.free(other)
    executor.cache.free(sequence)


def test_after_a_truncated_answer(executor: Executor, expected: NDArray[np.float32]) -> None:
    """A reused prefix gives what a fresh sequence gives."""
    sequence = executor.cache.new_sequence()
    prefill(executor, sequence, np.concatenate([TOKENS[:150], TOKENS[:90]]), 128)
    executor.cache.truncate(sequence, 150)
    np.testing.assert_array_equal(prefill(executor, sequence, TOKENS[150:-DECODED], 77), expected[0])
    executor.cache.free(sequence)


@pytest.mark.skipif(not current_tier().multiplies_matrices, reason="the tier has no AMX")
def test_with_activations_rounded_to_bfloat16(tmp_path: Path) -> None:
    """Also then: on one worker at once, and on four in chunks; near the logits of exact products, not equal to them."""
    folder = write_checkpoint(tmp_path / "m", "same_answer", CONFIG, "bfloat16")
    with open_executor("compiled", folder, threads=1) as executor:
        exact = prefill_then_decode(executor, len(TOKENS))
    with open_executor("compiled", folder, atype="bfloat16", threads=1) as executor:
        rounded = prefill_then_decode(executor, len(TOKENS))
    with open_executor("compiled", folder, atype="bfloat16", threads=4) as executor:
        np.testing.assert_array_equal(prefill_then_decode(executor, 50), rounded)
    difference = np.sqrt(np.mean((rounded - exact) ** 2) / np.mean(exact**2))
    assert 1e-5 < difference < 2.0**-5
