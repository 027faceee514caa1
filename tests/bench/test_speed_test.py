"""What the speed tests run on an executor, and the statistics of what they took."""

from __future__ import annotations

import threading
from contextlib import closing
from types import SimpleNamespace

import pytest

from ftllm_nb.benchmark.speed_test import (
    DECODE_PROMPT_TOKENS,
    WARM_UP_DECODE_TOKENS,
    SpeedTest,
    require_context,
    run_speed_tests,
)
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.errors import EngineError, UsageError
from tests.engine.fake_executor import FakeExecutor


def prompt(tokens: int) -> SpeedTest:
    return SpeedTest(is_decode=False, tokens=tokens)


def decode(tokens: int) -> SpeedTest:
    return SpeedTest(is_decode=True, tokens=tokens)


def run(executor: FakeExecutor, tests: list[SpeedTest], repetitions: int) -> list[tuple[str, int, int]]:
    reported: list[tuple[str, int, int]] = []
    with closing(EngineThread(executor)) as engine:
        run_speed_tests(
            engine,
            tests,
            repetitions,
            progress=lambda stage, done, total: reported.append((stage, done, total)),
        )
    return reported


def step_sizes(executor: FakeExecutor) -> list[tuple[int, bool]]:
    return [(len(token_ids), wants_logits) for token_ids, wants_logits in executor.steps]


def test_tests_are_named_as_llama_bench_names_them() -> None:
    assert (prompt(512).name, decode(64).name) == ("pp512", "tg64")


def test_the_mean_and_deviation_are_those_of_the_repetitions_rates() -> None:
    test = SpeedTest(is_decode=True, tokens=60, seconds=[2.0, 3.0, 6.0])
    assert test.tokens_per_s == pytest.approx(20.0)
    assert test.stddev == pytest.approx(10.0)
    assert SpeedTest(is_decode=True, tokens=60, seconds=[2.0]).stddev == 0.0


def test_a_prompt_runs_in_steps_of_the_executor_and_wants_the_last_logits() -> None:
    executor = FakeExecutor(max_step_tokens=4)
    test = prompt(10)
    run(executor, [test], repetitions=2)
    assert step_sizes(executor) == [(4, False), (4, False), (2, True)] * 3, "one run to warm up, then two"
    assert len(test.seconds) == 2 and min(test.seconds) > 0


def test_decode_runs_one_token_a_step_after_a_short_prompt() -> None:
    executor = FakeExecutor(max_step_tokens=DECODE_PROMPT_TOKENS)
    run(executor, [decode(20)], repetitions=1)
    before = [(DECODE_PROMPT_TOKENS, True)]
    one = [(1, True)]
    assert step_sizes(executor) == before + one * WARM_UP_DECODE_TOKENS + before + one * 20


def test_only_the_tests_own_tokens_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = FakeExecutor(max_step_tokens=4)
    a_second_a_step = SimpleNamespace(perf_counter=lambda: float(len(executor.steps)))
    monkeypatch.setattr("ftllm_nb.benchmark.speed_test.time", a_second_a_step)
    tests = [prompt(10), decode(20)]
    run(executor, tests, repetitions=2)
    assert [test.seconds for test in tests] == [[3.0, 3.0], [20.0, 20.0]]


def test_every_run_has_a_sequence_of_its_own_and_gives_it_back() -> None:
    executor = FakeExecutor()
    run(executor, [prompt(5), decode(5)], repetitions=3)
    counts = executor.cache.pool.counts
    assert counts.made > 0 and counts.used == counts.kept == 0
    assert executor.threads and threading.get_ident() not in executor.threads


def test_token_ids_are_random_within_the_vocabulary_and_the_same_each_time() -> None:
    first, second = (FakeExecutor(lambda token_ids: 0, vocab_size=7) for _ in range(2))
    for executor in (first, second):
        run(executor, [prompt(60)], repetitions=1)
    assert first.steps == second.steps
    assert {token_id for token_ids, _ in first.steps for token_id in token_ids} == set(range(7))


def test_progress_is_reported_after_every_run() -> None:
    reported = run(FakeExecutor(), [prompt(3), decode(2)], repetitions=2)
    assert reported == [("measure", done, 6) for done in range(1, 7)]


def test_a_test_that_does_not_fit_the_context_is_refused() -> None:
    require_context([prompt(64), decode(64 - DECODE_PROMPT_TOKENS)], 64)
    with pytest.raises(UsageError, match=r"pp65 needs a context of 65 tokens, but the model's holds 64"):
        require_context([prompt(65)], 64)
    with pytest.raises(UsageError, match="tg49"):
        require_context([decode(49)], 64)


def test_what_goes_wrong_in_a_step_is_raised_and_the_sequence_given_back() -> None:
    executor = FakeExecutor()

    def fail(steps: object) -> None:
        raise EngineError("a failed step")

    executor.run = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineError, match="a failed step"):
        run(executor, [prompt(3)], repetitions=1)
    assert executor.cache.pool.counts.used == 0
