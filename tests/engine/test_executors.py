"""What both executors promise beside logits: failed steps change nothing, limits hold, a closed one says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.errors import ContextLengthError, EngineError, GraphError, StepStopped
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.types import TensorType
from ftllm_nb.models.qwen2 import Qwen2Model
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from tests.engine.test_weight_loading import TIED, checkpoint_of
from tests.engine.two_engines import KINDS

CONFIG = {**TIED, "max_position_embeddings": 100}
IDS = (np.arange(150) * 7 % CONFIG["vocab_size"]).astype(np.int32)


class Whim(Operator):
    """Does what the test wants of it, in the middle of the model."""

    wish: Any = None
    parameters = (Parameter("input", Kind.INPLACE),)

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        added = None if Whim.wish is None else Whim.wish()
        return input if added is None else input + added


class Model(Qwen2Model):
    operators = (Whim,)

    def build(self) -> None:
        super().build()
        self.Whim(self.data["logits"])
        self.Silu(self.data["logits"], self.data["logits"])


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    checkpoint = checkpoint_of(CONFIG)
    graph = check_graph(build_graph(Model, CONFIG), checkpoint.tensors)
    executor = request.param(graph, checkpoint, threads=2)
    yield executor
    Whim.wish = None
    executor.close()


def run(executor: Executor, *steps: tuple[Any, int, int]) -> Any:
    return executor.run([SequenceStep(sequence, IDS[begin:end]) for sequence, begin, end in steps]).copy()


def fail() -> None:
    raise ZeroDivisionError("on a whim")


def test_the_largest_logit_of_each_row(executor: Executor) -> None:
    prompt = executor.cache.new_sequence()
    assert executor.run([SequenceStep(prompt, IDS[:3], 0)]).shape == (0, CONFIG["vocab_size"])
    assert executor.largest().tolist() == []
    steps = [SequenceStep(prompt, IDS[3:20], 5), SequenceStep(executor.cache.new_sequence(), IDS[40:50])]
    logits = executor.run(steps)
    assert executor.largest().tolist() == logits.argmax(axis=1).tolist() and len(logits) == 6
    for number in (np.nan, np.inf):
        wrong = np.zeros(CONFIG["vocab_size"], np.float32)
        wrong[-1] = number
        Whim.wish = lambda wrong=wrong: wrong
        run(executor, (executor.cache.new_sequence(), 0, 2))
        assert executor.largest().tolist() == [-1]


def test_a_step_that_fails_on_the_host_can_be_run_again(executor: Executor) -> None:
    expected = run(executor, (executor.cache.new_sequence(), 0, 70))
    first, second = executor.cache.new_sequence(), executor.cache.new_sequence()
    run(executor, (first, 0, 60))
    used = executor.cache.pool.counts.used
    for wish, error in ((fail, GraphError), (executor.request_stop, StepStopped)):
        Whim.wish = wish
        with pytest.raises(error):
            run(executor, (first, 60, 70), (second, 0, 5))
        Whim.wish = None
        executor.clear_stop()
        assert (first.length, second.length) == (60, 0)
    np.testing.assert_allclose(run(executor, (first, 60, 70), (second, 0, 5))[0], expected[0], atol=1e-4)
    assert (first.length, second.length) == (70, 5)
    for sequence in (first, second):
        executor.cache.free(sequence)
    assert executor.cache.pool.counts.used < used


def test_the_error_names_the_user_s_line_and_the_cause(executor: Executor) -> None:
    Whim.wish = fail
    with pytest.raises(GraphError, match=r"test_executors\.py:\d+: Whim \(operator \d+\) cannot be computed: .*whim"):
        run(executor, (executor.cache.new_sequence(), 0, 3))


@pytest.mark.parametrize(
    ("ids", "error", "expected"),
    [
        ([], EngineError, "at least one token"),
        ([CONFIG["vocab_size"]], EngineError, "outside of the vocabulary"),
        ([-1], EngineError, "token id -1 is outside"),
        ([2**40], EngineError, "outside of the vocabulary"),
        ([1] * 101, ContextLengthError, "101 tokens do not fit into the model's context of 100"),
        ([1] * 513, EngineError, "at most 512 tokens"),
    ],
)
def test_wrong_steps_change_nothing(executor: Executor, ids: list[int], error: type[Exception], expected: str) -> None:
    sequence, other = executor.cache.new_sequence(), executor.cache.new_sequence()
    with pytest.raises(error, match=expected):
        executor.run([SequenceStep(other, IDS[:2]), SequenceStep(sequence, np.array(ids, np.int64))])
    assert (sequence.length, other.length) == (0, 0)
    assert run(executor, (sequence, 0, 2), (other, 0, 2)).shape == (2, CONFIG["vocab_size"])


def test_the_context_can_be_used_to_its_last_position(executor: Executor) -> None:
    sequence = executor.cache.new_sequence()
    run(executor, (sequence, 0, 99))
    at_once = run(executor, (executor.cache.new_sequence(), 0, 100))
    np.testing.assert_allclose(run(executor, (sequence, 99, 100)), at_once, atol=1e-4)
    with pytest.raises(ContextLengthError):
        run(executor, (sequence, 100, 101))
    assert sequence.length == 100


def test_a_step_without_logits(executor: Executor) -> None:
    sequence = executor.cache.new_sequence()
    logits = executor.run([SequenceStep(sequence, IDS[:5], wants_logits=False)])
    assert logits.shape == (0, CONFIG["vocab_size"])
    assert sequence.length == 5


def seconds_of_a_step(executor: Executor) -> float:
    """Of 50 tokens."""
    sequence, begin = executor.cache.new_sequence(), time.perf_counter()
    run(executor, (sequence, 0, 50))
    taken = time.perf_counter() - begin
    executor.cache.free(sequence)
    return taken


def test_steps_that_are_stopped_anywhere_and_run_again_give_the_same_bits() -> None:
    """As the scheduler does for requests that go away."""
    checkpoint = checkpoint_of({**CONFIG, "max_position_embeddings": 512})
    graph = check_graph(build_graph(Qwen2Model, checkpoint.config), checkpoint.tensors)
    executor = CompiledExecutor(graph, checkpoint, kv_cache_dtype="float16", threads=3)
    expected = run(executor, (executor.cache.new_sequence(), 0, 150))
    longest_wait = 3 * min(seconds_of_a_step(executor) for _ in range(5))  # some must come to their end on any machine
    random, stops, finished = np.random.default_rng(1), 0, threading.Event()

    def disturb() -> None:
        while not finished.wait(random.uniform(0, longest_wait)):
            executor.request_stop()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for _ in range(60):
            sequence, begin = executor.cache.new_sequence(), 0
            while begin < 150:
                end = min(begin + 50, 150)
                try:
                    found = run(executor, (sequence, begin, end))
                    begin = end
                except StepStopped:
                    stops += 1
                    assert sequence.length == begin
                    executor.clear_stop()
            np.testing.assert_array_equal(found, expected)
            executor.cache.free(sequence)
    finally:
        finished.set()
        disturber.join()
        executor.close()
    assert stops > 10


def test_a_closed_engine_says_so() -> None:
    checkpoint = checkpoint_of(CONFIG)
    executor = CompiledExecutor(check_graph(build_graph(Model, CONFIG), checkpoint.tensors), checkpoint)
    sequence = executor.cache.new_sequence()
    run(executor, (sequence, 0, 3))
    executor.close()
    executor.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        run(executor, (sequence, 3, 4))
