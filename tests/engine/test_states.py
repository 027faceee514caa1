"""An operator that keeps a state of each sequence: the same answers in any chunks and company, after a cut, a failure,
and from another's beginning, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.request import Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits
from ftllm_nb.engine.session import Session
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from tests.engine.two_engines import KINDS
from tests.memory_checkpoint import MemoryCheckpoint, normal

HIDDEN, VOCAB, CONTEXT = 16, 50, 400
CONFIG = {"max_position_embeddings": CONTEXT, "num_attention_heads": 2, "hidden_size": HIDDEN, "rope_theta": 10000.0}
TOKENS = (np.arange(300) * 7919 % VOCAB).astype(np.int32)


class TailMix(Operator):
    """output = input plus a third of what was two tokens before, and of the mean of all tokens before."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("tail", Kind.STATE),
        Parameter("total", Kind.STATE),
        Parameter("output", Kind.OUTPUT),
        Parameter("seqLens", Kind.INPUT),
    )
    fails = False
    wrong: Any = None
    """What is left as the first sequence's tail."""

    @staticmethod
    def state(input: TensorType, seqLens: TensorType) -> tuple[tuple[int, ...], ...]:
        return (2, input.size(-1)), (1 + input.size(-1),)

    @staticmethod
    def infer(input: TensorType, tail: TensorType, total: TensorType, seqLens: TensorType) -> TensorType:
        assert tail.shape[1:] == (2, input.size(-1))
        return input

    @classmethod
    def reference(
        cls, step: StepContext, input: Array, tail: list[Array], total: list[Array], seqLens: Array
    ) -> Array:
        out, first = input.copy(), 0
        for number, count in enumerate(seqLens):
            rows = input[0, first : first + count]
            history = np.concatenate([tail[number], rows])
            for at in range(count):
                mean = total[number][1:] / max(1, total[number][0])
                out[0, first + at] += (history[at] + mean) / 3
                total[number] += np.float32([1, *rows[at]])
            tail[number] = np.ascontiguousarray(history[-2:])
            first += count
        if cls.wrong is not None:
            tail[0] = cls.wrong
        if cls.fails:
            raise ZeroDivisionError("on a whim")
        return out


class Mixing(ComputeGraph):
    """Embedding, TailMix, attention with a window, TailMix."""

    operators = (TailMix,)

    def build(self) -> None:
        data, weight = self.data, self.weight
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        self.TailMix(data["x"], data["pastState."][0], data["pastState.total."][0], data["y"], data["seqLens"])
        for name in "qkv":
            self.Linear(data["y"], weight[name], None, data[name])
            self.ExpandHead(data[name], HIDDEN // 2)
        self.FusedAttention(
            data["q"], data["pastKey."][1], data["pastValue."][1], data["k"], data["v"], data["y"],
            data["attentionMask"], data["z"], data["seqLens"], 0.3, 0, window=70,
        )  # fmt: skip
        self.AddTo(data["z"], data["y"])
        self.TailMix(data["z"], data["pastState."][2], data["pastState.total."][2], data["x"], data["seqLens"])
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    # Two queries to a key: attention is compiled for each number of them, and other quick tests have these.
    tensors = {name: normal(ord(name), HIDDEN if name == "q" else HIDDEN // 2, HIDDEN, scale=0.3) for name in "qkv"}
    tensors |= {"embed": normal(1, VOCAB, HIDDEN), "head": normal(2, VOCAB, HIDDEN, scale=0.1)}
    checkpoint = MemoryCheckpoint(CONFIG, tensors)
    executor = request.param(check_graph(build_graph(Mixing, CONFIG), checkpoint.tensors), checkpoint, threads=2)
    yield executor
    executor.close()


@pytest.fixture(autouse=True)
def no_whims() -> Iterator[None]:
    yield
    TailMix.fails, TailMix.wrong = False, None


def run(executor: Executor, *steps: tuple[Any, int, int]) -> np.ndarray:
    return executor.run([SequenceStep(sequence, TOKENS[begin:end]) for sequence, begin, end in steps]).copy()


def alone(executor: Executor, length: int) -> np.ndarray:
    """The logits after so many tokens in one step."""
    sequence = executor.cache.new_sequence()
    logits = run(executor, (sequence, 0, length))[0]
    executor.cache.free(sequence)
    return logits


def test_any_chunks_and_company(executor: Executor) -> None:
    expected = [alone(executor, length) for length in (200, 201, 202)]
    first, other = executor.cache.new_sequence(), executor.cache.new_sequence()
    for begin, end in ((0, 1), (1, 2), (2, 70), (70, 199)):
        run(executor, (first, begin, end), (other, begin + 5, end + 5))
    for number, end in enumerate((200, 201, 202)):
        found = run(executor, (other, end + 4, end + 5), (first, end - 1, end))[1]
        np.testing.assert_allclose(found, expected[number], atol=1e-4)
    for sequence in (first, other):
        executor.cache.free(sequence)


def test_a_step_that_fails_or_is_stopped_leaves_the_states_as_they_were(executor: Executor) -> None:
    expected = alone(executor, 50)
    sequence = executor.cache.new_sequence()
    run(executor, (sequence, 0, 40))
    TailMix.fails = True
    with pytest.raises(GraphError, match=r"states\.py:\d+: TailMix .* raised ZeroDivisionError in line .*: on a whim"):
        run(executor, (sequence, 40, 50))
    TailMix.fails = False
    np.testing.assert_allclose(run(executor, (sequence, 40, 50))[0], expected, atol=1e-4)
    executor.cache.free(sequence)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (np.zeros((3, HIDDEN), np.float32), r"\[3, 16\] as tail .* where its state\(\) says float32 \[2, 16\]"),
        (np.zeros((2, HIDDEN)), r"left float64 \[2, 16\] as tail"),
        (..., "left a value of type ellipsis as tail of a sequence"),
    ],
)  # fmt: skip
def test_a_state_of_another_size_is_one_sentence(executor: Executor, wrong: Any, expected: str) -> None:
    sequence = executor.cache.new_sequence()
    run(executor, (sequence, 0, 3))
    TailMix.wrong = wrong
    with pytest.raises(GraphError, match=expected):
        run(executor, (sequence, 3, 4))
    TailMix.wrong = None
    np.testing.assert_allclose(run(executor, (sequence, 3, 4))[0], alone(executor, 4), atol=1e-4)
    executor.cache.free(sequence)


def answers(executor: Executor, prompts: list[list[int]], max_batch: int) -> tuple[list[list[int]], int]:
    """And how many tokens were found in the cache."""
    scheduler, heard = Scheduler(executor, SchedulerLimits(max_batch, chunk_tokens=90)), []
    for ids in prompts:
        heard.append([])
        listen = lambda event, mine=heard[-1]: mine.append(event.token_id) if isinstance(event, Token) else None  # noqa: E731
        scheduler.add(Request(ids, SamplingSettings(max_tokens=12, do_sample=True, top_k=0, seed=1), listen))
    while not scheduler.is_idle:
        scheduler.step()
    return heard, scheduler.counts.cached_tokens


def test_what_another_began_is_taken_over_with_its_states(executor: Executor) -> None:
    common = TOKENS[:150].tolist()
    prompts = [common, [*common, 7, 8], common[:140], [*common[:100], 3]]
    by_itself = [answers(executor, [ids], 1)[0][0] for ids in prompts]
    executor.cache.pool.limit = 1000
    try:
        answers(executor, prompts[:1], 1)
        found, cached = answers(executor, prompts, 4)
        assert found == by_itself and cached > 0
        assert answers(executor, prompts[::-1], 2)[0] == by_itself[::-1]
    finally:
        executor.cache.pool.limit = None
        assert executor.cache.forget_all()


def test_a_conversation_is_cut_back_to_where_turns_began(executor: Executor) -> None:
    with closing(EngineThread(executor)) as engine:
        session, greedy = Session(engine), SamplingSettings(max_tokens=10, do_sample=True, top_k=0, seed=1)

        def ask(ids: list[int]) -> tuple[list[int], int]:
            answer = list(session.generate(ids, greedy))
            assert session.stats is not None
            return answer, session.stats.reused_tokens

        first = TOKENS[:120].tolist()
        one, _ = ask(first)
        second = [*first, *one, 9, 8, 7]
        two, reused = ask(second)
        assert reused == 129
        assert len({*one, *two}) > 5
        again, reused = ask(second)
        assert again == two and reused == len(second) - 1, "the states where the answer began were kept"
        other, reused = ask([*first, *one, 5])
        assert reused == 129
        back, reused = ask([*first[:-1], 5])
        assert reused == 119
        session.forget()
        for ids, answer in (([*first, *one, 5], other), ([*first[:-1], 5], back)):
            session.forget()
            assert ask(ids) == (answer, 0)
