"""OpenAI's penalties, biases, allowed ids and logprobs, against sums written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.engine.logprobs import token_logprobs
from ftllm_nb.engine.sampling import Sampler
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import UsageError

SIZE = 7
PENALTIES = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 2.0])
LOGITS = st.lists(st.integers(-8, 8).map(float), min_size=SIZE, max_size=SIZE)


@given(
    rows=st.lists(LOGITS, min_size=1, max_size=8),
    presence=PENALTIES,
    frequency=PENALTIES,
    bias=st.dictionaries(st.integers(0, SIZE + 2), st.sampled_from([-100.0, -1.5, 3.0, 100.0])),
    repetition=st.sampled_from([1.0, 1.0, 1.5, 0.5]),
    allowed=st.none() | st.sets(st.integers(0, SIZE - 1), min_size=1),
)
def test_greedy_answers_follow_the_sums(
    rows: list[list[float]],
    presence: float,
    frequency: float,
    bias: dict[int, float],
    repetition: float,
    allowed: set[int] | None,
) -> None:
    settings = SamplingSettings(
        presence_penalty=presence,
        frequency_penalty=frequency,
        repetition_penalty=repetition,
        logit_bias=tuple(bias.items()),
    )
    sampler = Sampler(settings, [0, 1, 1], SIZE)
    held: Counter[int] = Counter()
    seen = {0, 1}
    for row in rows:
        logits = np.array(row, np.float32)
        penalized = [
            value * repetition ** (1 if value < 0 else -1) if token in seen else value
            for token, value in enumerate(row)
        ]
        scores = {
            token: penalized[token] - presence * (held[token] > 0) - frequency * held[token] + bias.get(token, 0)
            for token in sorted(allowed or range(SIZE))
        }
        expected = max(scores, key=lambda token: scores[token])
        assert sampler.next_token(logits, None if allowed is None else np.array(sorted(allowed))) == expected
        assert logits.tolist() == row, "the executor's logits are left as they are"
        held[expected] += 1
        seen.add(expected)


def test_the_frequency_penalty_counts() -> None:
    sampler = Sampler(SamplingSettings(frequency_penalty=1.0), [], 2)
    logits = np.array([2.5, 0.0], np.float32)
    assert [sampler.next_token(logits) for _ in range(6)] == [0, 0, 0, 1, 0, 1]


def test_only_allowed_ids_are_drawn() -> None:
    sampler = Sampler(SamplingSettings(do_sample=True, top_k=3, top_p=0.9, seed=1), [], 50)
    logits = np.linspace(0, 1, 50, dtype=np.float32)
    drawn = {sampler.next_token(logits, np.array([2, 7, 11, 40])) for _ in range(200)}
    assert drawn == {7, 11, 40}, "top_k counts what is allowed"


@given(LOGITS, st.integers(0, SIZE - 1), st.integers(0, SIZE + 3))
def test_logprobs_are_those_of_the_models_distribution(row: list[float], token: int, top: int) -> None:
    found = token_logprobs(np.array(row, np.float32), token, top)
    exact = [value - math.log(sum(map(math.exp, row))) for value in row]
    assert found.logprob == pytest.approx(exact[token], abs=2e-6)
    order = sorted(range(SIZE), key=lambda each: (-row[each], each))[:top]
    assert [each for each, _ in found.top] == order
    assert [value for _, value in found.top] == pytest.approx([exact[each] for each in order], abs=2e-6)


@pytest.mark.parametrize("bias", [{1: 2.0}, ((1,),), ((-1, 0.0),), ((1, 101.0),), ((1, math.nan),), (("1", 1.0),)])
def test_biases_out_of_bounds_are_refused(bias: object) -> None:
    with pytest.raises(UsageError, match="logit_bias must be pairs"):
        SamplingSettings(logit_bias=bias)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_penalties_out_of_bounds_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} must be a number from -2 to 2"):
        SamplingSettings(**{name: 2.1})
