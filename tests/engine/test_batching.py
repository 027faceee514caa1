"""The thread-safe front of the scheduler: submit, cancel and close from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from ftllm_nb.engine.batching import BatchingEngine, QueueFullError
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.request import End, Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import SchedulerLimits
from ftllm_nb.errors import ContextLengthError, EngineError, UsageError
from tests.engine.paged_executor import PagedExecutor, answer_alone

NO_END = ((0, -100.0),)


class Asked(Request):
    """A request that is waited for."""

    def __init__(self, prompt: list[int], max_tokens: int | None = 5, seed: int = 0) -> None:
        chosen = SamplingSettings(do_sample=True, seed=seed, max_tokens=max_tokens, logit_bias=NO_END)
        self.events: SimpleQueue[Token | End] = SimpleQueue()
        super().__init__(prompt, chosen, self.events.put)

    def wait(self) -> tuple[list[int], End]:
        tokens = []
        while isinstance(event := self.events.get(timeout=20), Token):
            tokens.append(event.token_id)
        return tokens, event

    def expected(self) -> list[int]:
        prompt = self.token_ids[: self.prompt_tokens]
        return answer_alone(prompt, self.settings, [], self.most_tokens)[0]


@pytest.fixture
def executor() -> PagedExecutor:
    return PagedExecutor(limit=30)


@pytest.fixture
def engine(executor: PagedExecutor) -> Iterator[EngineThread]:
    engine = EngineThread(executor)
    yield engine
    engine.close()


@pytest.fixture
def front(engine: EngineThread) -> BatchingEngine:
    return BatchingEngine(engine, SchedulerLimits(max_batch=4, chunk_tokens=16), max_queue=40)


def wait_until_idle(front: BatchingEngine) -> None:
    deadline = time.monotonic() + 30
    while front.num_running or front.num_waiting:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_many_threads_get_their_own_answers(front: BatchingEngine, executor: PagedExecutor) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        for turn in range(5):
            request = Asked([number % 3 + 1] * (number + 1), 8, seed=10 * number + turn)
            front.submit(request)
            tokens, end = request.wait()
            if tokens != request.expected() or end != End("length"):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    wait_until_idle(front)
    assert front.cache.used == 0
    assert front.counts.answer_tokens == 12 * 5 * 8
    assert max(map(len, executor.step_tokens)) > 1, "requests ran side by side"


def test_after_each_step_comes_a_call_when_listeners_have_heard_its_tokens(front: BatchingEngine) -> None:
    heard: list[str] = []
    over = threading.Event()

    def after_step() -> None:
        heard.append("step")
        if "End" in heard:
            over.set()

    front.after_step = after_step
    settings = SamplingSettings(max_tokens=3)
    front.submit(Request([1, 2, 3], settings, lambda event: heard.append(type(event).__name__)))
    assert over.wait(20)
    assert heard == ["Token", "step", "Token", "step", "Token", "End", "step"]


def test_a_cancelled_request_ends_within_a_chunk_of_its_step(
    front: BatchingEngine, executor: PagedExecutor
) -> None:
    executor.step_seconds = 30
    request = Asked([1, 2, 3])
    front.submit(request)
    assert executor.step_running.wait(20)
    started = time.monotonic()
    front.cancel(request)
    assert request.wait() == ([], End("cancelled"))
    assert time.monotonic() - started < 15
    executor.step_seconds = 0
    after = Asked([1, 2, 3])
    front.submit(after)
    assert after.wait()[0] == after.expected()


def test_a_cancelled_request_leaves_the_others_alone(front: BatchingEngine, executor: PagedExecutor) -> None:
    executor.step_seconds = 0.01
    leaving, staying = Asked([1], None), Asked([2], 20)
    front.submit(leaving)
    front.submit(staying)
    leaving.events.get(timeout=20)
    front.cancel(leaving)
    assert leaving.wait()[1] == End("cancelled")
    assert staying.wait() == (staying.expected(), End("length"))
    wait_until_idle(front)
    assert front.cache.used == 0


def test_prompts_that_cannot_be_answered_are_refused(front: BatchingEngine) -> None:
    for prompt, error in (([], UsageError), ([1] * 121, ContextLengthError), ([99], EngineError)):
        with pytest.raises(error):
            front.submit(Asked(prompt))
    assert front.max_context == 120
    last = Asked([1] * 120, 5)
    front.submit(last)
    assert last.wait() == (last.expected(), End("length")) and last.answer_tokens == 1


def test_a_full_queue_is_said_at_once(front: BatchingEngine, executor: PagedExecutor) -> None:
    executor.step_seconds = 30
    requests = [Asked([1, 2]) for _ in range(41)]
    front.submit(requests[0])
    assert executor.step_running.wait(20)
    for request in requests[1:]:
        front.submit(request)
    with pytest.raises(QueueFullError, match="40 requests are waiting"):
        front.submit(Asked([1]))
    for request in requests[::-1]:
        front.cancel(request)
    for request in requests:
        assert request.wait()[1] == End("cancelled")


@pytest.mark.parametrize("step_seconds", [0.0, 30.0])
def test_closing_ends_what_runs_and_what_waits(
    front: BatchingEngine, engine: EngineThread, executor: PagedExecutor, step_seconds: float
) -> None:
    executor.step_seconds = step_seconds or 0.005
    requests = [Asked([number], None) for number in range(1, 8)]
    for request in requests:
        front.submit(request)
    assert executor.step_running.wait(20)
    started = time.monotonic()
    engine.close()
    for request in requests:
        end = request.wait()[1]
        assert end.reason == "failed" and isinstance(end.error, EngineError)
    assert time.monotonic() - started < 15
    assert front.cache.used == 0
    with pytest.raises(EngineError, match="closed"):
        front.submit(Asked([1]))


def test_an_idle_engine_gives_the_caches_memory_back(front: BatchingEngine, executor: PagedExecutor) -> None:
    asked = Asked([1, 2] * 20)
    front.submit(asked)
    asked.wait()
    wait_until_idle(front)
    assert front.cache_bytes == front.cache.made * executor.block_bytes > 0
    held = front.cache_bytes
    assert front.release_cache() == held and front.cache_bytes == front.cache.kept == 0
    again = Asked([1, 2] * 20)
    front.submit(again)
    assert again.wait()[0] == again.expected() and again.cached_tokens == 0


def test_a_busy_engine_keeps_its_cache(front: BatchingEngine, executor: PagedExecutor) -> None:
    executor.step_seconds = 0.02
    asked = Asked([1, 2, 3], 30)
    front.submit(asked)
    assert executor.step_running.wait(20)
    assert front.release_cache() == 0
    assert asked.wait()[0] == asked.expected()
