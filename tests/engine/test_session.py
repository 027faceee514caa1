"""Answers over a fake executor: what runs, what is reused, what ends an answer, what stopping leaves."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.kept_sequence import common_prefix
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.session import Session
from ftllm_nb.errors import ContextLengthError, EngineError, UsageError
from tests.engine.fake_executor import FakeExecutor, answer_of


def greedy(max_tokens: int | None = None) -> SamplingSettings:
    return SamplingSettings(max_tokens=max_tokens)


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def session(executor: FakeExecutor) -> Iterator[Session]:
    engine = EngineThread(executor)
    yield Session(engine)
    engine.close()


def wait_until(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_prefill_runs_in_chunks_and_decode_one_token_a_step(session: Session, executor: FakeExecutor) -> None:
    prompt = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    answer = list(session.generate(prompt, greedy(3)))
    assert answer == answer_of(prompt, 3)
    assert executor.steps == [
        ([3, 1, 4, 1], False),
        ([5, 9, 2, 6], False),
        ([5, 3], True),
        ([answer[0]], True),
        ([answer[1]], True),
    ]


def test_the_executor_is_used_on_one_thread_that_is_not_the_callers(
    session: Session, executor: FakeExecutor
) -> None:
    list(session.generate([1, 2], greedy(2)))
    caller = threading.Thread(target=lambda: list(session.generate([1, 2, 3], greedy(2))))
    caller.start()
    caller.join()
    assert len(executor.threads) == 1
    assert threading.get_ident() not in executor.threads


def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(session: Session) -> None:
    tokens = answer_of([5], 6)
    stop = next(token for token in tokens[1:] if token != tokens[0])
    answer = list(session.generate([5], greedy(), {stop}))
    assert answer == tokens[: tokens.index(stop)]
    assert session.stats is not None and session.stats.finish_reason == "stop"


def test_an_answer_ends_where_the_context_is_full(session: Session, executor: FakeExecutor) -> None:
    executor.max_positions = 12
    answer = list(session.generate([1] * 9, greedy()))
    # Nine tokens of prompt and three of answer were run; the fourth one's place would be the thirteenth.
    assert len(answer) == 4
    assert session.stats is not None and session.stats.finish_reason == "length"
    assert list(session.generate([2] * 12, greedy())) == answer_of([2] * 12, 1)


def test_a_prompt_beyond_the_context_is_refused_before_anything_runs(
    session: Session, executor: FakeExecutor
) -> None:
    with pytest.raises(ContextLengthError, match=r"65 tokens.*at most 64"):
        session.generate([1] * 65, greedy())
    with pytest.raises(UsageError, match="no tokens"):
        session.generate([], greedy())
    with pytest.raises(EngineError, match="token id 100"):
        session.generate([1, 100], greedy())
    with pytest.raises(EngineError, match="token id -1"):
        session.generate([-1], greedy())
    assert executor.steps == [] and executor.cache.pool.counts.made == 0
    assert list(session.generate([1], greedy(2))) == answer_of([1], 2)


def test_the_next_turn_runs_only_what_is_new(session: Session, executor: FakeExecutor) -> None:
    first = [1, 2, 3, 4, 5]
    answer = list(session.generate(first, greedy(3)))
    executor.steps.clear()
    # The answer's last token was never run, so that it runs now, before the new ones.
    second = [*first, *answer, 7, 8]
    assert list(session.generate(second, greedy(2))) == answer_of(second, 2)
    assert executor.steps[0] == ([answer[2], 7, 8], True)
    stats = session.stats
    assert stats is not None
    assert (stats.prompt_tokens, stats.reused_tokens, stats.prefill_tokens) == (10, 7, 3)
    assert (stats.answer_tokens, stats.decode_tokens) == (2, 1)


def test_the_same_prompt_again_runs_its_last_token(session: Session, executor: FakeExecutor) -> None:
    prompt = [9, 8, 7, 6]
    answers = [list(session.generate(prompt, greedy(4))) for _ in range(2)]
    assert answers[0] == answers[1] == answer_of(prompt, 4)
    assert session.stats is not None and session.stats.reused_tokens == 3


def test_random_conversations_answer_as_without_a_cache(session: Session, executor: FakeExecutor) -> None:
    rng = random.Random(7)
    conversation = [1]
    for _ in range(200):
        if rng.random() < 0.3:
            conversation = conversation[: rng.randrange(1, len(conversation) + 1)]
        conversation = (conversation + [rng.randrange(100) for _ in range(rng.randrange(1, 9))])[-50:]
        executor.max_step_tokens = rng.randrange(1, 9)
        count = rng.randrange(1, 8)
        answer = list(session.generate(conversation, greedy(count)))
        assert answer == answer_of(conversation, count)
        stats = session.stats
        assert stats is not None and stats.reused_tokens + stats.prefill_tokens == len(conversation)
        if rng.random() < 0.7:
            conversation = conversation + answer


def test_forget_frees_the_sequence(session: Session, executor: FakeExecutor) -> None:
    list(session.generate([1, 2, 3], greedy(1)))
    session.forget()
    assert list(session.generate([1, 2, 3], greedy(1))) == answer_of([1, 2, 3], 1)
    assert session.stats is not None and session.stats.reused_tokens == 0


def test_an_iterator_that_is_never_started_runs_nothing(session: Session, executor: FakeExecutor) -> None:
    session.generate([1, 2, 3], greedy())
    list(session.generate([5], greedy(1)))
    assert executor.steps == [([5], True)]


@pytest.mark.parametrize("give_up", ["close", "drop", "stop"])
def test_an_abandoned_answer_stops_within_a_step(
    session: Session, executor: FakeExecutor, give_up: str
) -> None:
    executor.step_seconds = 0.02
    executor.max_positions = 10_000
    answer = session.generate([1, 2], greedy())
    assert next(answer) == answer_of([1, 2], 1)[0]
    if give_up == "close":
        answer.close()
    elif give_up == "stop":
        session.stop()
        assert len(list(answer)) <= 2
    del answer
    executor.step_running.clear()
    # The next answer's turn comes as soon as the abandoned one ended; nothing is left of its stop request.
    started = time.monotonic()
    assert list(session.generate([4], greedy(2))) == answer_of([4], 2)
    assert time.monotonic() - started < 20  # and not 200
    assert len(executor.steps) < 10


def test_a_stop_ends_a_long_prefill_within_a_chunk(session: Session, executor: FakeExecutor) -> None:
    prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9]

    def stop_soon() -> None:
        executor.step_running.wait(20)
        session.stop()

    executor.step_seconds = 30
    stopper = threading.Thread(target=stop_soon)
    stopper.start()
    started = time.monotonic()
    assert list(session.generate(prompt, greedy())) == []
    assert time.monotonic() - started < 15
    stopper.join()
    assert session.stats is not None and session.stats.finish_reason == "stopped"
    executor.step_seconds = 0
    assert list(session.generate(prompt, greedy(3))) == answer_of(prompt, 3)


def test_what_a_stopped_prefill_completed_is_reused(session: Session, executor: FakeExecutor) -> None:
    prompt = list(range(1, 12))
    run = executor.run

    def run_one_then_stop(steps):  # type: ignore[no-untyped-def]
        result = run(steps)
        executor.request_stop()
        return result

    executor.run = run_one_then_stop  # type: ignore[method-assign]
    assert list(session.generate(prompt, greedy())) == []
    executor.run = run  # type: ignore[method-assign]
    assert list(session.generate(prompt, greedy(2))) == answer_of(prompt, 2)
    assert session.stats is not None and session.stats.reused_tokens == 4


def test_a_failed_step_is_raised_to_the_caller_and_its_cache_dropped(
    session: Session, executor: FakeExecutor
) -> None:
    run = executor.run

    def fail(steps):  # type: ignore[no-untyped-def]
        raise EngineError("a failed step")

    list(session.generate([1, 2, 3], greedy(1)))
    executor.run = fail  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="a failed step"):
        list(session.generate([1, 2, 3, 4], greedy(1)))
    executor.run = run  # type: ignore[method-assign]
    assert list(session.generate([1, 2, 3, 4], greedy(1))) == answer_of([1, 2, 3, 4], 1)
    assert session.stats is not None and session.stats.reused_tokens == 0


def test_two_iterators_taken_turns_with_give_both_answers(session: Session) -> None:
    first = session.generate([1, 2], greedy(20))
    second = session.generate([3], greedy(20))
    answers: tuple[list[int], list[int]] = ([], [])
    for one, other in zip(first, second, strict=True):
        answers[0].append(one)
        answers[1].append(other)
    assert answers == (answer_of([1, 2], 20), answer_of([3], 20))


def test_many_threads_get_their_own_answers(session: Session, executor: FakeExecutor) -> None:
    answers: dict[int, list[int]] = {}

    def ask(token_id: int) -> None:
        answers[token_id] = list(session.generate([token_id, 5], greedy(15)))

    threads = [threading.Thread(target=ask, args=(token_id,)) for token_id in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == {token_id: answer_of([token_id, 5], 15) for token_id in range(16)}


def test_stop_also_ends_answers_that_wait_for_their_turn(session: Session, executor: FakeExecutor) -> None:
    executor.step_seconds = 30
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda: lengths.append(len(list(session.generate([1], greedy())))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(session._answering) == 3)
    time.sleep(0.02)
    session.stop()
    for thread in threads:
        thread.join(20)
    assert lengths == [0, 0, 0]


def test_the_clock_of_the_stats(session: Session, executor: FakeExecutor) -> None:
    executor.step_seconds = 0.01
    started = time.perf_counter()
    list(session.generate([1, 2, 3, 4, 5, 6], greedy(4)))
    taken = time.perf_counter() - started
    stats = session.stats
    assert stats is not None
    assert 0.02 <= stats.prefill_seconds and 0.03 <= stats.decode_seconds
    assert stats.prefill_seconds + stats.decode_seconds <= taken
    assert stats.prefill_tokens_per_second == 6 / stats.prefill_seconds
    assert stats.decode_tokens_per_second == 3 / stats.decode_seconds


def test_a_seed_makes_answers_repeatable(session: Session, executor: FakeExecutor) -> None:
    def sampled(seed: int | None) -> list[int]:
        settings = SamplingSettings(do_sample=True, temperature=20, seed=seed, max_tokens=12)
        return list(session.generate([1, 2, 3], settings))

    assert sampled(1) == sampled(1)
    assert len({tuple(sampled(seed)) for seed in range(5)}) == 5
    assert sampled(None) != sampled(None)


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 9, 3], 1), ([4], [4], 1), ([5], [], 0)],
)
def test_common_prefix(first: list[int], second: list[int], common: int) -> None:
    assert common_prefix(first, second) == common


def test_an_answer_is_as_long_as_it_must(session: Session) -> None:
    stop = answer_of([5], 1)[0]
    assert list(session.generate([5], greedy(), {stop})) == []
    answer = list(session.generate([5], SamplingSettings(min_tokens=3, max_tokens=9), {stop}))
    assert len(answer) >= 3 and stop not in answer


def test_an_answer_that_repeats_itself_ends() -> None:
    with closing(EngineThread(FakeExecutor(lambda tokens: len(tokens) % 3 + 1, max_positions=400))) as engine:
        session = Session(engine)
        assert len(list(session.generate([5], SamplingSettings(stop_loops=True)))) == 160
        assert session.stats is not None and session.stats.finish_reason == "loop"
        assert len(list(session.generate([5], SamplingSettings(stop_loops=True, ignore_eos=True)))) == 400
        assert session.stats.finish_reason == "length"


def test_logits_of_a_prompt_leave_the_conversation_reusable(session: Session) -> None:
    prompt = [3, 1, 4, 1, 5, 9]
    logits = session.logits(prompt)
    assert int(logits.argmax()) == answer_of(prompt, 1)[0]
    assert list(session.generate(prompt, greedy(3))) == answer_of(prompt, 3)
    assert session.stats is not None and session.stats.reused_tokens == 5
    with pytest.raises(UsageError, match="no tokens"):
        session.logits([])


def test_an_answer_that_begins_at_once_waits_for_its_reader(session: Session, executor: FakeExecutor) -> None:
    task = session.prepare([1, 2], greedy(4))
    assert executor.steps == []
    session.begin(task)
    wait_until(lambda: task.stats.finish_reason == "length")
    assert list(session.results(task)) == answer_of([1, 2], 4)
    assert not session._answering


def test_one_answer_of_several_is_cancelled(session: Session, executor: FakeExecutor) -> None:
    executor.step_seconds = 0.01
    executor.max_positions = 100_000
    endless, waiting = session.prepare([1], greedy()), session.prepare([2], greedy(3))
    session.begin(endless)
    session.begin(waiting)
    session.cancel(endless)
    assert list(session.results(waiting)) == answer_of([2], 3)
    assert len(list(session.results(endless))) < 10
