"""Each architecture with recurrent layers: what test_recurrent_models.py asks of four, and a prompt cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from tests.engine.test_recurrent_models import (
    COMMON,
    DECODED,
    TOKENS,
    opened,
    prefill,
    prefill_then_decode,
    test_a_conversation_is_edited_undone_and_branched,
    test_a_step_passes_places_where_states_stay,
    test_beside_others_and_after_a_step_that_was_stopped,
    test_branches_of_one_prompt,
    test_cut_back_to_a_saved_length,
    test_what_others_began_and_what_was_preempted,
)
from tests.oracle.config_parts import SIZES
from tests.oracle.recurrent_architectures import RECURRENT

__all__ = [
    "test_a_conversation_is_edited_undone_and_branched",
    "test_a_step_passes_places_where_states_stay",
    "test_beside_others_and_after_a_step_that_was_stopped",
    "test_branches_of_one_prompt",
    "test_cut_back_to_a_saved_length",
    "test_what_others_began_and_what_was_preempted",
]
SAME = ("vocab_size", "max_position_embeddings", "rope_theta")
CONFIGS: dict[str, dict[str, Any]] = {
    f"{name}-{number}": {
        entry: value
        for entry, value in {**SIZES, **{each: COMMON[each] for each in SAME}, **changes, "model_type": name}.items()
        if value is not None or entry not in ("head_dim", "num_hidden_layers")
    }
    for name, configs in RECURRENT.items()
    for number, changes in enumerate(configs)
}
CUT = 150


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (not name.endswith("-0"))) for name in CONFIGS],
)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGS[request.param]


@pytest.fixture(scope="module", params=["float32", pytest.param("float16", marks=pytest.mark.slow)])
def executor(config: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[CompiledExecutor]:
    """With states of float32 and of float16."""
    with opened(config, 2, state_dtype=request.param) as executor:
        yield executor


@pytest.fixture(scope="module")
def expected(executor: CompiledExecutor) -> NDArray[np.float32]:
    """Logits [1 + DECODED, vocab]: the prompt as one step, then token by token."""
    found = prefill_then_decode(executor, len(TOKENS))
    assert np.abs(found).max() > 0.3 and len(np.unique(found, axis=0)) == 1 + DECODED
    return found


def test_a_prompt_cut_at_each_place(executor: CompiledExecutor) -> None:
    cache = executor.cache
    sequence = cache.new_sequence()
    expected = prefill(executor, sequence, TOKENS[:CUT], CUT)
    cache.free(sequence)
    for cut in range(1, CUT):
        executor.run([SequenceStep(sequence, TOKENS[:cut], cut % 2)])
        np.testing.assert_array_equal(prefill(executor, sequence, TOKENS[cut:CUT], CUT), expected, f"cut at {cut}")
        cache.free(sequence)


def test_token_by_token_and_in_threes(executor: CompiledExecutor, expected: NDArray[np.float32]) -> None:
    assert DECODED < 64
    for chunk in (1, 3):
        np.testing.assert_array_equal(prefill_then_decode(executor, chunk), expected)
